// Foreign bytes and texts, made fit to be shown: in the message of an error, in a line of a log, on
// a terminal.
#ifndef SNAKEPIT_SRC_BASE_QUOTE_H_
#define SNAKEPIT_SRC_BASE_QUOTE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace snakepit {

inline constexpr size_t kQuotedBytes = 64;

// The most that is kept of a text that a worker sends, in bytes, before it is escaped:
inline constexpr size_t kMostErrorTextBytes = 64 * 1024;  // of an error or a status
inline constexpr size_t kMostSharedTextBytes = 1024;      // of one that ends many calls at once
inline constexpr size_t kMostNameBytes = 256;             // of a name or a version

// The bytes between double quotes, as a C string literal has them ("hello\n\x00"): printable ASCII
// as it is, all else escaped. After the first max_bytes comes "…" in place of the rest.
std::string QuoteBytes(std::string_view bytes, size_t max_bytes = kQuotedBytes);

// "68 65 6c 6c".
std::string HexBytes(std::string_view bytes);

// The text, safe to show: one line of valid UTF-8 in which each character is seen. Escaped is what
// a terminal obeys (ESC, CSI and the other controls), what ends a line (\n, U+2028), what turns the
// direction of the text around (U+202E), and what takes no room (U+200B): as \n, \x1b or \u202e. A
// byte that is not UTF-8 becomes U+FFFD. What is safe already stays as it is.
std::string Printable(std::string_view text);

// A JSON text with the same characters escaped as JSON escapes them, \u202e: equal JSON.
std::string PrintableJson(std::string json);

// The text, of max_bytes at most: of a longer one the beginning, cut between characters, and then
// how much is missing, " [123 bytes more]". Of a text that has been cut already, all that is
// missing is told. `max_bytes` is over 100.
std::string CutText(std::string_view text, size_t max_bytes);

// That mark.
std::string BytesMore(size_t bytes);

// The text cut, and then safe to show.
std::string Excerpt(std::string_view text, size_t max_bytes);

// The mark that stands in place of a secret.
inline constexpr std::string_view kHiddenSecret = "[the worker's token]";

// The text without the secret, which is random, and without any 16 or more characters in a row of
// it: it may have been cut. Nothing is changed when the secret is empty.
std::string HideSecret(std::string text, std::string_view secret);

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_BASE_QUOTE_H_
