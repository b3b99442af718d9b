has() { command -v "$1" >/dev/null 2>&1; };
if has perl && perl -MIO::Socket -e 1 2>/dev/null; then exec perl -MIO::Socket -e "$4" "$1" "$2" "$3";
elif has python3; then exec python3 -c "import sys; exec(sys.argv.pop(1).replace(chr(9), chr(10)))" "$5" "$1" "$2" "$3";
elif has php; then exec php -r "$6" -- "$1" "$2" "$3"; fi;
echo "there is no perl, python3 or php to stand in for a forward" >&2; exit 127
