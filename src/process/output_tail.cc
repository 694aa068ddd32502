#include "src/process/output_tail.h"

#include <algorithm>
#include <string>
#include <utility>

#include "src/base/quote.h"
#include "src/base/utf8.h"

namespace snakepit {
namespace {

bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Drops the rest of a sequence that begins before the text.
std::string_view WithoutLeadingContinuation(std::string_view text) {
  for (int i = 0; i < 3 && !text.empty() && IsContinuation(text[0]); ++i) text.remove_prefix(1);
  return text;
}

// Drops the beginning of a sequence that ends after the text.
std::string_view WithoutTrailingBeginning(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const unsigned char byte = static_cast<unsigned char>(text[text.size() - back]);
    if (byte < 0x80) break;
    if (byte < 0xC0) continue;
    const size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
    if (length > back) text.remove_suffix(back);
    break;
  }
  return text;
}

// The last max_bytes at most, from the start of a line if one starts there.
std::string_view CutToLineStart(std::string_view text, size_t max_bytes, bool is_cut) {
  if (text.size() > max_bytes) {
    // A line that starts exactly at the cut is whole.
    is_cut = text[text.size() - max_bytes - 1] != '\n';
    text.remove_prefix(text.size() - max_bytes);
  }
  if (!is_cut) return text;
  const size_t newline = text.find('\n');
  if (newline != std::string_view::npos && newline + 1 < text.size()) {
    return text.substr(newline + 1);
  }
  return WithoutLeadingContinuation(text);
}

std::string_view WithoutTrailingNewlines(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

}  // namespace

OutputTail::OutputTail() : OutputTail(Limits()) {}

OutputTail::OutputTail(Limits limits, LineCallback on_line)
    : limits_(limits), on_line_(std::move(on_line)) {}

void OutputTail::Append(std::string_view bytes) {
  AppendToTail(bytes);
  if (!on_line_) return;
  for (;;) {
    const size_t newline = bytes.find('\n');
    AppendToLine(bytes.substr(0, newline));
    if (newline == std::string_view::npos) return;
    EmitLine();
    bytes.remove_prefix(newline + 1);
  }
}

void OutputTail::Finish() {
  if (on_line_ && !line_.empty()) EmitLine();
}

std::string OutputTail::Text() const {
  const std::string_view end = WithoutTrailingNewlines(tail_);
  std::string text = RepairUtf8(CutToLineStart(end, limits_.tail_bytes, tail_is_cut_));
  // The replacement characters may have made it longer.
  if (text.size() > limits_.tail_bytes) {
    text = CutToLineStart(text, limits_.tail_bytes, true);
  }
  return text;
}

void OutputTail::AppendToTail(std::string_view bytes) {
  // Twice the limit is kept, so that a byte is moved once and not at every call. At least one byte
  // more than the limit stays, to see if a line starts at the cut.
  const size_t kept = limits_.tail_bytes * 2;
  if (bytes.size() >= kept) {
    tail_is_cut_ = tail_is_cut_ || !tail_.empty() || bytes.size() > kept;
    tail_ = bytes.substr(bytes.size() - kept);
    return;
  }
  if (tail_.size() + bytes.size() > kept) {
    const size_t needed = limits_.tail_bytes + 1;
    const size_t keep_old = bytes.size() >= needed ? 0 : needed - bytes.size();
    if (tail_.size() > keep_old) {
      tail_.erase(0, tail_.size() - keep_old);
      tail_is_cut_ = true;
    }
  }
  tail_ += bytes;
}

void OutputTail::AppendToLine(std::string_view bytes) {
  const size_t taken = std::min(bytes.size(), limits_.line_bytes - line_.size());
  line_ += bytes.substr(0, taken);
  line_dropped_ += bytes.size() - taken;
}

void OutputTail::EmitLine() {
  std::string_view line = line_;
  if (line_dropped_ > 0) {
    line = WithoutTrailingBeginning(line);
    const size_t dropped = line_dropped_ + (line_.size() - line.size());
    on_line_(RepairUtf8(line) + BytesMore(dropped));
  } else {
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    on_line_(RepairUtf8(line));
  }
  line_.clear();
  line_dropped_ = 0;
}

}  // namespace snakepit
