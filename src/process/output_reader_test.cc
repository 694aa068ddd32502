#include "src/process/output_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace snakepit {
namespace {

class OutputReaderTest : public ::testing::Test {
 protected:
  OutputReaderTest() {
    FdPair pipe = *OpenPipe();
    writer_ = std::move(pipe.second);
    reader_ = OutputReader::Start(io_, std::move(pipe.first),
                                  [this](std::string_view line) { lines_.emplace_back(line); });
  }

  void Write(std::string_view text) {
    ASSERT_EQ(write(writer_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  asio::io_context io_;
  UniqueFd writer_;
  std::vector<std::string> lines_;
  std::shared_ptr<OutputReader> reader_;
};

TEST_F(OutputReaderTest, GivesLinesAsTheyComeUntilTheEnd) {
  Write("one\ntwo\nthr");
  io_.run_one();
  EXPECT_EQ(lines_, (std::vector<std::string>{"one", "two"}));
  Write("ee");
  writer_.Reset();
  io_.run();
  EXPECT_EQ(lines_, (std::vector<std::string>{"one", "two", "three"}));
}

TEST_F(OutputReaderTest, TheTailHasWhatIsStillInThePipe) {
  Write("the reason\n");
  EXPECT_EQ(reader_->Tail(), "the reason");
}

TEST_F(OutputReaderTest, NothingIsPendingAfterClose) {
  Write("last words");
  reader_->Close();
  EXPECT_EQ(lines_, std::vector<std::string>{"last words"});
  io_.run();  // returns, though the writer's end is open
}

}  // namespace
}  // namespace snakepit
