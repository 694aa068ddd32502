#!/usr/bin/env bash
# msgpack-cxx writes a double without a fraction as an integer: 1.0 becomes 1, and -0.0 becomes 0,
# without its sign. A float does so, too. Its own reader then gives an integer where a double was.
# Exit status: 0 as stated, 1 changed, 2 not installed or not run.
set -uo pipefail

dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
version=4.1.3-1
(cd "$dir" && apt-get download --quiet --quiet "libmsgpack-cxx-dev=$version" >&2 &&
  dpkg-deb --extract libmsgpack-cxx-dev_*.deb .) || exit 2
cat >"$dir/main.cc" <<'CC'
template <typename Number>
void Show(const char* name, Number number) {
  msgpack::sbuffer buffer;
  msgpack::pack(buffer, number);
  std::printf("%s:", name);
  for (size_t i = 0; i < buffer.size(); ++i) {
    std::printf(" %02x", static_cast<unsigned char>(buffer.data()[i]));
  }
  const auto read = msgpack::unpack(buffer.data(), buffer.size());
  const bool is_integer = read->type == msgpack::type::POSITIVE_INTEGER ||
                          read->type == msgpack::type::NEGATIVE_INTEGER;
  std::printf(", read as %s\n", is_integer ? "an integer" : "a double");
}

int main() {
  Show("double 0.5", 0.5);
  Show("double 1.0", 1.0);
  Show("double -0.0", -0.0);
  Show("double -2.0", -2.0);
  Show("double 2^53", 9007199254740992.0);
  Show("float 1.0", 1.0f);
}
CC
g++ -std=c++17 -DMSGPACK_NO_BOOST -isystem "$dir/usr/include" -include cstdio -include msgpack.hpp \
  -o "$dir/main" "$dir/main.cc" || exit 2
seen=$(timeout 60 "$dir/main") || { echo "not run: $seen" >&2; exit 2; }

stated='double 0.5: cb 3f e0 00 00 00 00 00 00, read as a double
double 1.0: 01, read as an integer
double -0.0: 00, read as an integer
double -2.0: fe, read as an integer
double 2^53: cf 00 20 00 00 00 00 00 00, read as an integer
float 1.0: 01, read as an integer'

echo "version:  libmsgpack-cxx-dev $version"
echo "expected: a double is written as float 64, and comes back as a double with the same bits"
echo "seen:"
while IFS= read -r line; do echo "  $line"; done <<<"$seen"
if [ "$seen" = "$stated" ]; then echo "as stated"; else echo "changed"; exit 1; fi
