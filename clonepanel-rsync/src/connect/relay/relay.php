[, $ready, $host, $port] = $argv;
if ($host[0] != "/" && strpos($host, ":") !== false) $host = "[$host]";
$s = @stream_socket_client($host[0] == "/" ? "unix://$host" : "tcp://$host:$port", $code, $text, 30);
if (!$s) { fwrite(STDERR, "$host: $text\n"); exit(1); }
function put($to, $all) {
    while ($all !== "") { $n = @fwrite($to, $all); if (!$n) exit(1); $all = substr($all, $n); }
}
put(STDOUT, "$ready\n");
$open = [STDIN, $s];
while (true) {
    $read = $open; $write = $except = null;
    if (@stream_select($read, $write, $except, null) === false) exit(1);
    foreach ($read as $from) {
        $piece = fread($from, 65536);
        if ($piece !== "" && $piece !== false) { put($from === $s ? STDOUT : $s, $piece); continue; }
        if (!feof($from)) continue;
        if ($from === $s) exit(0);
        $open = [$s]; stream_socket_shutdown($s, STREAM_SHUT_WR);
    }
}
