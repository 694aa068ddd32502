#include "conformance/cases/long_calls.h"

#include <cstdlib>
#include <filesystem>

namespace snakepit::conformance {

LongCalls::LongCalls(StdioPoolEnd& pool, int count, std::chrono::milliseconds length) {
  pool.NeedCommands({"conf.sleep"});
  folder_ = (std::filesystem::temp_directory_path() / "begun-XXXXXX").string();
  if (mkdtemp(folder_.data()) == nullptr) {
    throw CaseEnd{Verdict::HarnessError("no folder can be made in TMPDIR")};
  }
  std::vector<std::string> begun;
  for (int i = 0; i < count; ++i) {
    ids_.push_back(pool.NewId());
    begun.push_back(folder_ + "/" + std::to_string(i));
    const Json args = {{"ms", pool.Scaled(length).count()}, {"begun", begun.back()}};
    pool.Send(StdioPoolEnd::Request(ids_.back(), "conf.sleep", args));
  }
  for (const std::string& file : begun) {
    pool.Await("the handler of conf.sleep begins",
               [&file] { return std::filesystem::exists(file); });
  }
}

LongCalls::~LongCalls() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace snakepit::conformance
