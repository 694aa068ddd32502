// The output of `snakepit demo`: steps with explanations, and a table. A terminal gets colours and
// a line of progress, anything else plain lines.
#ifndef SNAKEPIT_CLI_CONSOLE_H_
#define SNAKEPIT_CLI_CONSOLE_H_

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace snakepit {

struct ConsoleStyle {
  bool terminal = false;  // progress may be shown and erased
  bool colour = false;

  // The style for `fd` in this environment (NO_COLOR, TERM).
  static ConsoleStyle Of(int fd);
};

// Not synchronised.
class Console {
 public:
  // `write` gets each piece of output at once.
  Console(ConsoleStyle style, std::function<void(std::string_view)> write)
      : style_(style), write_(std::move(write)) {}

  void Title(std::string_view text);
  // A paragraph in a quiet colour.
  void Quiet(std::string_view text);
  // "── stdio ── what it is ──".
  void Section(std::string_view name, std::string_view text);
  // "  start     text", the beginning of a step.
  void Step(std::string_view name, std::string_view text);
  // "            text", an observation of the step.
  void Detail(std::string_view text);
  // The end of a step whose promise held, with the figures.
  void Held(std::string_view text);
  void DidNotHold(std::string_view text);
  // Replaces the last progress, and is erased by the next output. Only on a terminal.
  void Progress(std::string_view text);
  // The first row is the head. The first column is left aligned, the others right aligned.
  void Table(const std::vector<std::vector<std::string>>& rows);
  void Blank() { Emit("\n"); }

 private:
  void Emit(std::string_view text);
  std::string Coloured(std::string_view code, std::string_view text) const;

  const ConsoleStyle style_;
  const std::function<void(std::string_view)> write_;
  bool has_progress_ = false;
  std::chrono::steady_clock::time_point last_progress_;
};

}  // namespace snakepit

#endif  // SNAKEPIT_CLI_CONSOLE_H_
