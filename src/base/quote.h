// Makes foreign bytes and texts fit to be shown: in an error message, in a log line, on a terminal.
#ifndef SNAKEPIT_BASE_QUOTE_H_
#define SNAKEPIT_BASE_QUOTE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace snakepit {

inline constexpr size_t kQuotedBytes = 64;

// Most bytes kept of a text that a worker sends, before it is escaped:
inline constexpr size_t kMostErrorTextBytes = 64 * 1024;  // an error or a status
inline constexpr size_t kMostSharedTextBytes = 1024;      // an error that ends many calls at once
inline constexpr size_t kMostNameBytes = 256;             // a name or a version

// The bytes between double quotes, as a C string literal ("hello\n\x00"): printable ASCII as it is,
// all else escaped. "…" stands for the bytes after the first max_bytes.
std::string QuoteBytes(std::string_view bytes, size_t max_bytes = kQuotedBytes);

// "68 65 6c 6c".
std::string HexBytes(std::string_view bytes);

// The text, safe to show: one line of valid UTF-8 in which each character is seen. Escapes, as \n,
// \x1b or \u202e: characters that a terminal obeys (ESC, CSI and the other controls), line ends
// (\n, U+2028), changes of the text's direction (U+202E), and characters without width (U+200B). A
// byte that is not UTF-8 becomes U+FFFD. A safe text stays as it is.
std::string Printable(std::string_view text);

// A JSON text with the same characters escaped the JSON way, \u202e: equal JSON.
std::string PrintableJson(std::string json);

// The text, of max_bytes at most. A longer one is cut between characters, and the mark " [123 bytes
// more]" tells how much is missing. If the text had such a mark already, the new mark counts both
// cuts. `max_bytes` is over 100.
std::string CutText(std::string_view text, size_t max_bytes);

// The mark of CutText.
std::string BytesMore(size_t bytes);

// The text cut, and then safe to show.
std::string Excerpt(std::string_view text, size_t max_bytes);

// The text between double quotes, safe to show.
std::string Quoted(std::string_view text);

// The text as one word for a shell: as it is if no character is special, else in single quotes.
std::string ShellQuote(std::string_view text);

// The mark that stands in place of a secret.
inline constexpr std::string_view kHiddenSecret = "[the worker's token]";

// The text without the secret, and without any 16 or more consecutive characters of it, because the
// text may have been cut. Unchanged if the secret, which is random, is empty.
std::string HideSecret(std::string text, std::string_view secret);

}  // namespace snakepit

#endif  // SNAKEPIT_BASE_QUOTE_H_
