// OutputTail: the end of a process's output for error messages, and its lines for a log. Memory is
// bounded.
#ifndef SNAKEPIT_PROCESS_OUTPUT_TAIL_H_
#define SNAKEPIT_PROCESS_OUTPUT_TAIL_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace snakepit {

// Not synchronised: one thread at a time.
class OutputTail {
 public:
  struct Limits {
    size_t tail_bytes = 4096;  // most bytes of Text(); over 0
    size_t line_bytes = 1024;  // most bytes of a line for on_line, without its mark; over 0
  };
  // A line without its end of line (\n or \r\n), as valid UTF-8. A line longer than line_bytes is
  // cut and ends with a mark: " [123 bytes more]".
  using LineCallback = std::function<void(std::string_view line)>;

  OutputTail();  // the default limits, and no callback
  explicit OutputTail(Limits limits, LineCallback on_line = {});

  // Takes the next bytes, and calls on_line for each line that they complete.
  void Append(std::string_view bytes);

  // Ends the output: a last line without an end goes to on_line now.
  void Finish();

  // The last tail_bytes or fewer, cut at the start of a line if possible, without newlines at the
  // end. Invalid UTF-8 is shown as U+FFFD.
  std::string Text() const;

 private:
  void AppendToTail(std::string_view bytes);
  void AppendToLine(std::string_view bytes);
  void EmitLine();

  const Limits limits_;
  const LineCallback on_line_;
  std::string tail_;          // at least the last tail_bytes, at most twice as many
  bool tail_is_cut_ = false;  // true if anything came before tail_
  std::string line_;          // the beginning of the line that is not complete
  size_t line_dropped_ = 0;   // bytes of it that are not in line_
};

}  // namespace snakepit

#endif  // SNAKEPIT_PROCESS_OUTPUT_TAIL_H_
