// OutputTail: the end of what a process wrote, for error messages, and its lines, for a log; in
// bounded memory whatever is written.
#ifndef SNAKEPIT_SRC_PROCESS_OUTPUT_TAIL_H_
#define SNAKEPIT_SRC_PROCESS_OUTPUT_TAIL_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace snakepit {

// Not synchronised: one thread at a time.
class OutputTail {
 public:
  struct Limits {
    size_t tail_bytes = 4096;  // what Text() returns at most; over 0
    size_t line_bytes = 1024;  // what on_line gets of a line at most, its mark not counted; over 0
  };
  // A line without its end of line (\n or \r\n), as valid UTF-8. Of one that is longer than
  // line_bytes the beginning, with a mark: " [123 bytes more]".
  using LineCallback = std::function<void(std::string_view line)>;

  OutputTail();  // the default limits, and no callback
  explicit OutputTail(Limits limits, LineCallback on_line = {});

  // Takes the next bytes as they were read; calls on_line for each line that they complete.
  void Append(std::string_view bytes);

  // No more will come: a last line that has no end goes to on_line now.
  void Finish();

  // The last tail_bytes, or fewer: cut at the start of a line where possible, without the newlines
  // at the end. Valid UTF-8: what was not is shown as U+FFFD.
  std::string Text() const;

 private:
  void AppendToTail(std::string_view bytes);
  void AppendToLine(std::string_view bytes);
  void EmitLine();

  const Limits limits_;
  const LineCallback on_line_;
  std::string tail_;          // at least the last tail_bytes, at most twice as many
  bool tail_is_cut_ = false;  // whether anything came before tail_
  std::string line_;          // the beginning of the line that is not complete
  size_t line_dropped_ = 0;   // how many bytes of it are not in line_
};

}  // namespace snakepit

#endif  // SNAKEPIT_SRC_PROCESS_OUTPUT_TAIL_H_
