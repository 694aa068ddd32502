#include "src/base/quote.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

#include "src/base/utf8.h"

namespace snakepit {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

bool IsControl(char32_t c) { return c < 0x20 || c == 0x7f; }

void AppendHex(uint32_t number, int digits, std::string* out) {
  for (int i = digits - 1; i >= 0; --i) *out += kHexDigits[number >> (4 * i) & 15];
}

void AppendEscaped(unsigned char byte, std::string* out) {
  switch (byte) {
    case '\n':
      *out += "\\n";
      return;
    case '\r':
      *out += "\\r";
      return;
    case '\t':
      *out += "\\t";
      return;
    default:
      *out += "\\x";
      AppendHex(byte, 2, out);
  }
}

// Characters beyond ASCII that are escaped: they change the look of other text, or are invisible.
struct Range {
  char32_t first;
  char32_t last;
};
constexpr Range kUnsafe[] = {
    {0x80, 0x9f},        // C1 controls, CSI among them
    {0xad, 0xad},        // soft hyphen
    {0x61c, 0x61c},      // Arabic letter mark
    {0x180e, 0x180e},    // Mongolian vowel separator
    {0x200b, 0x200f},    // zero-width space and joiners, left-to-right and right-to-left marks
    {0x2028, 0x202e},    // line and paragraph separator; embeddings and overrides of the direction
    {0x2060, 0x206f},    // word joiner, invisible operators, isolates of the direction
    {0xfeff, 0xfeff},    // zero-width no-break space, or byte order mark
    {0xfff9, 0xfffb},    // interlinear annotation
    {0xe0000, 0xe007f},  // tags
};

bool IsUnsafe(char32_t c) {
  return std::any_of(std::begin(kUnsafe), std::end(kUnsafe),
                     [c](const Range& range) { return c >= range.first && c <= range.last; });
}

// `sequence` is well-formed.
char32_t CharacterOf(std::string_view sequence) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(sequence[i]); };
  constexpr unsigned char kLeadBits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  char32_t c = byte(0) & kLeadBits[sequence.size()];
  for (size_t i = 1; i < sequence.size(); ++i) c = c << 6 | (byte(i) & 0x3f);
  return c;
}

// The next character to escape, or the next byte that is not UTF-8.
struct Found {
  size_t at;
  size_t bytes;
  std::optional<char32_t> character;
};

std::optional<Found> FindUnsafe(std::string_view text, size_t at) {
  while (at < text.size()) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      if (IsControl(byte)) return Found{at, 1, byte};
      ++at;
      continue;
    }
    const size_t length = Utf8SequenceLength(text.substr(at));
    if (length == 0) return Found{at, 1, std::nullopt};
    const char32_t c = CharacterOf(text.substr(at, length));
    if (IsUnsafe(c)) return Found{at, length, c};
    at += length;
  }
  return std::nullopt;
}

// The text with everything that FindUnsafe finds replaced by `escape`.
template <typename Escape>
std::string WithEscapes(std::string_view text, std::optional<Found> found, const Escape& escape) {
  std::string out;
  out.reserve(text.size() + 16);
  size_t copied = 0;
  for (; found; found = FindUnsafe(text, copied)) {
    out += text.substr(copied, found->at - copied);
    escape(*found, &out);
    copied = found->at + found->bytes;
  }
  out += text.substr(copied);
  return out;
}

constexpr std::string_view kMarkBegin = " [";
constexpr std::string_view kMarkEnd = " bytes more]";

// Takes the mark of an earlier cut off the text, and returns its number. A worker may have sent the
// mark itself. It then misleads about the size, and about nothing else.
size_t TakeMark(std::string_view* text) {
  const size_t begin = text->rfind(kMarkBegin);
  if (!text->ends_with(kMarkEnd) || begin == std::string_view::npos) return 0;
  const std::string_view number = text->substr(begin + kMarkBegin.size());
  uint32_t missing = 0;  // more than any message has
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size() - kMarkEnd.size(), missing);
  if (error != std::errc() || end != number.data() + number.size() - kMarkEnd.size()) return 0;
  *text = text->substr(0, begin);
  return missing;
}

// The first 16 or more consecutive characters of the text that are in the secret in that order.
constexpr size_t kTellingCharacters = 16;
size_t LengthOfSecretAt(std::string_view text, std::string_view secret) {
  size_t longest = 0;
  if (text.size() < kTellingCharacters) return 0;
  const std::string_view beginning = text.substr(0, kTellingCharacters);
  for (size_t at = secret.find(beginning); at != std::string_view::npos;
       at = secret.find(beginning, at + 1)) {
    const std::string_view rest = secret.substr(at);
    const auto end = std::mismatch(rest.begin(), rest.end(), text.begin(), text.end()).first;
    longest = std::max(longest, static_cast<size_t>(end - rest.begin()));
  }
  return longest;
}

}  // namespace

std::string QuoteBytes(std::string_view bytes, size_t max_bytes) {
  std::string out = "\"";
  for (const unsigned char byte : bytes.substr(0, max_bytes)) {
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += static_cast<char>(byte);
    } else if (IsControl(byte) || byte > 0x7f) {
      AppendEscaped(byte, &out);
    } else {
      out += static_cast<char>(byte);
    }
  }
  out += '"';
  if (bytes.size() > max_bytes) out += "…";
  return out;
}

std::string HexBytes(std::string_view bytes) {
  std::string out;
  for (const unsigned char byte : bytes) {
    if (!out.empty()) out += ' ';
    AppendHex(byte, 2, &out);
  }
  return out;
}

std::string Printable(std::string_view text) {
  return WithEscapes(text, FindUnsafe(text, 0), [](const Found& found, std::string* out) {
    if (!found.character) {
      *out += "\uFFFD";
    } else if (*found.character < 0x80) {
      AppendEscaped(static_cast<unsigned char>(*found.character), out);
    } else if (*found.character <= 0xffff) {
      *out += "\\u";
      AppendHex(*found.character, 4, out);
    } else {
      *out += "\\U";
      AppendHex(*found.character, 8, out);
    }
  });
}

std::string PrintableJson(std::string json) {
  const std::optional<Found> first = FindUnsafe(json, 0);
  if (!first) return json;
  return WithEscapes(json, first, [](const Found& found, std::string* out) {
    const char32_t c = found.character.value_or(0xfffd);
    const auto append = [out](uint32_t unit) {
      *out += "\\u";
      AppendHex(unit, 4, out);
    };
    if (c <= 0xffff) return append(c);
    append(0xd800 + ((c - 0x10000) >> 10));
    append(0xdc00 + ((c - 0x10000) & 0x3ff));
  });
}

std::string BytesMore(size_t bytes) {
  return std::string(kMarkBegin) + std::to_string(bytes) + std::string(kMarkEnd);
}

std::string CutText(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  const size_t missing = TakeMark(&text);
  const size_t longest_mark = BytesMore(SIZE_MAX).size();
  const std::string_view kept = Utf8Prefix(text, max_bytes - longest_mark);
  return std::string(kept) + BytesMore(text.size() - kept.size() + missing);
}

std::string Excerpt(std::string_view text, size_t max_bytes) {
  return Printable(CutText(text, max_bytes));
}

std::string Quoted(std::string_view text) { return '"' + Printable(text) + '"'; }

std::string ShellQuote(std::string_view text) {
  constexpr std::string_view kPlain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+=:,./@%";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'') {
      quoted += "'\\''";
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::string HideSecret(std::string text, std::string_view secret) {
  if (secret.size() < kTellingCharacters) return text;
  std::string hidden;
  bool found = false;
  // Each piece of the secret lies in a run of the secret's characters.
  for (size_t at = 0; at < text.size();) {
    const std::string_view rest = std::string_view(text).substr(at);
    const size_t run = std::min(rest.find_first_not_of(secret), rest.size());
    size_t done = 0;
    while (done + kTellingCharacters <= run) {
      const size_t length = LengthOfSecretAt(rest.substr(done, run - done), secret);
      found = found || length > 0;
      hidden += length > 0 ? kHiddenSecret : rest.substr(done, 1);
      done += std::max<size_t>(1, length);
    }
    // The rest of the run, and the character that ended it.
    const size_t end = std::min(run + 1, rest.size());
    hidden += rest.substr(done, end - done);
    at += end;
  }
  return found ? hidden : text;
}

}  // namespace snakepit
