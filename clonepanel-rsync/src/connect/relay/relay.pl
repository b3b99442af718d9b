my ($ready, $host, $port) = @ARGV;
my $class = eval { require IO::Socket::IP } ? "IO::Socket::IP" : "IO::Socket::INET";
my $s = $host =~ m{^/} ? IO::Socket::UNIX->new(Peer => $host)
    : $class->new(PeerHost => $host, PeerPort => $port, Proto => "tcp", Timeout => 30);
$s or die "$host: $!\n";
$host =~ m{^/} or setsockopt $s, 6, 1, 1;
sub put {
    my ($to, $all) = @_; my $at = 0;
    while ($at < length $all) { my $n = syswrite $to, $all, length($all) - $at, $at; defined $n or exit 1; $at += $n }
}
sub pass { my ($from, $to) = @_; my $piece; while (sysread $from, $piece, 65536) { put($to, $piece) } }
put(\*STDOUT, "$ready\n");
my $child = fork; defined $child or die "fork: $!\n";
if (!$child) { pass(\*STDIN, $s); shutdown $s, 1; exit 0 }
pass($s, \*STDOUT); kill "TERM", $child; waitpid $child, 0;
