#include "src/cli/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace snakepit {
namespace {

using std::chrono::steady_clock;

constexpr char kBold[] = "1";
constexpr char kDim[] = "2";
constexpr char kBoldCyan[] = "1;36";
constexpr char kGreen[] = "32";
constexpr char kBoldRed[] = "1;31";
constexpr size_t kNameWidth = 9;
constexpr size_t kLineWidth = 92;
// Nobody can read progress that changes more often than this.
constexpr std::chrono::milliseconds kProgressInterval{80};

std::string Indent() { return std::string(2 + kNameWidth + 1, ' '); }

}  // namespace

ConsoleStyle ConsoleStyle::Of(int fd) {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string_view(value == nullptr ? "" : value);
  };
  ConsoleStyle style;
  style.terminal = isatty(fd) == 1 && !variable("TERM").empty() && variable("TERM") != "dumb";
  style.colour = style.terminal && variable("NO_COLOR").empty();
  return style;
}

std::string Console::Coloured(std::string_view code, std::string_view text) const {
  return style_.colour ? fmt::format("\033[{}m{}\033[0m", code, text) : std::string(text);
}

void Console::Emit(std::string_view text) {
  if (has_progress_) write_("\r\033[K");
  has_progress_ = false;
  write_(text);
}

void Console::Title(std::string_view text) { Emit(Coloured(kBold, text) + "\n"); }

void Console::Quiet(std::string_view text) { Emit(Coloured(kDim, text) + "\n"); }

void Console::Section(std::string_view name, std::string_view text) {
  const size_t used = 3 + name.size() + 2 + text.size() + 1;
  const std::string rule(kLineWidth - std::min(used, kLineWidth), '-');
  Emit("\n" + Coloured(kDim, "-- ") + Coloured(kBoldCyan, name) +
       Coloured(kDim, fmt::format(": {} {}", text, rule)) + "\n\n");
}

void Console::Step(std::string_view name, std::string_view text) {
  Emit(fmt::format("  {} {}\n", Coloured(kBold, fmt::format("{:<{}}", name, kNameWidth)), text));
}

void Console::Detail(std::string_view text) { Emit(Indent() + Coloured(kDim, text) + "\n"); }

void Console::Held(std::string_view text) {
  Emit(Indent() + Coloured(kGreen, "ok") + "  " + std::string(text) + "\n");
}

void Console::DidNotHold(std::string_view text) {
  Emit(Indent() + Coloured(kBoldRed, "FAILED") + "  " + std::string(text) + "\n");
}

void Console::Progress(std::string_view text) {
  const auto now = steady_clock::now();
  if (!style_.terminal || (has_progress_ && now - last_progress_ < kProgressInterval)) return;
  last_progress_ = now;
  has_progress_ = true;
  write_("\r\033[K" + Indent() + Coloured(kDim, text));
}

void Console::Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  size_t total = 0;
  for (size_t width : widths) total += width + 3;
  bool is_head = true;
  for (const auto& row : rows) {
    std::string line = "  ";
    for (size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i])
                     : fmt::format("   {:>{}}", row[i], widths[i]);
    }
    Emit((is_head ? Coloured(kBold, line) : line) + "\n");
    if (is_head) Emit(Coloured(kDim, "  " + std::string(total - 3, '-')) + "\n");
    is_head = false;
  }
}

}  // namespace snakepit
