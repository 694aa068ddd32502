#include "src/cli/writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <string>
#include <thread>

#include "src/base/fd.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong{60'000};
constexpr size_t kMoreThanAPipeHolds = 1 << 18;

// Waits for so many bytes and reads them.
std::string Read(int fd, size_t size) {
  std::string text(size, '\0');
  size_t got = 0;
  while (got < size) {
    const ssize_t n = read(fd, text.data() + got, size - got);
    if (n <= 0) break;
    got += static_cast<size_t>(n);
  }
  text.resize(got);
  return text;
}

class WriterTest : public testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    pipe_ = std::move(*OpenPipe());
    writer_.emplace(pipe_.second.get());
  }
  // Ends a thread that still writes.
  void TearDown() override {
    pipe_.first.Reset();
    if (writer_) writer_->Flush(kLong, kLong);
  }

  int fd() const { return pipe_.first.get(); }
  // More than the pipe takes, so later text waits.
  void Fill() { ASSERT_TRUE(writer_->Post(std::string(kMoreThanAPipeHolds, 'x'))); }

  FdPair pipe_;
  std::optional<Writer> writer_;
};

TEST_F(WriterTest, WrittenTextCanBeReadAtOnce) {
  ASSERT_EQ(writer_->Write("one\n"), 0);
  ASSERT_EQ(fcntl(fd(), F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(Read(fd(), 4), "one\n");
}

TEST_F(WriterTest, TextsComeWholeAndInTheirOrder) {
  std::string expected;
  std::thread reader([this, &expected] {
    for (int i = 0; i < 200; ++i) {
      const std::string text = std::to_string(i) + std::string(5'000, 'a') + "\n";
      EXPECT_EQ(Read(fd(), text.size()), text);
    }
  });
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(writer_->Write(std::to_string(i) + std::string(5'000, 'a') + "\n"), 0);
  }
  reader.join();
}

TEST_F(WriterTest, ADeadlineEndsTheWaitForAReader) {
  Fill();
  EXPECT_EQ(writer_->Write("late", steady_clock::now() + milliseconds(20)), ETIMEDOUT);
  // The text was begun, so it comes as soon as somebody reads.
  Read(fd(), kMoreThanAPipeHolds);
  EXPECT_EQ(Read(fd(), 4), "late");
}

TEST_F(WriterTest, AfterADeadlineThatHasPassedNothingIsWritten) {
  EXPECT_EQ(writer_->Write("late", steady_clock::now()), ETIMEDOUT);
  EXPECT_EQ(writer_->Write("next"), 0);
  EXPECT_EQ(Read(fd(), 4), "next");
}

TEST_F(WriterTest, StopWaitingEndsTheWaitForAReader) {
  Fill();
  std::thread stopper([this] { writer_->StopWaiting(); });
  EXPECT_EQ(writer_->Write("more", steady_clock::now() + kLong), ECANCELED);
  stopper.join();
  EXPECT_EQ(writer_->Write("still more"), ECANCELED);
}

TEST_F(WriterTest, ASlowReaderHoldsWriteUpAndLosesNothing) {
  Fill();
  std::thread reader([this] {
    for (size_t got = 0; got < kMoreThanAPipeHolds; got += 1024) {
      ASSERT_EQ(Read(fd(), 1024).size(), 1024u);
      std::this_thread::yield();
    }
    EXPECT_EQ(Read(fd(), 3), "end");
  });
  EXPECT_EQ(writer_->Write("end"), 0);
  reader.join();
}

TEST_F(WriterTest, PostNeverWaitsAndDropsTheExcess) {
  const std::string text(Writer::kMostPostedBytes / 4, 'x');
  int posted = 0;
  while (posted < 1'000 && writer_->Post(text)) ++posted;
  EXPECT_GE(posted, 4);
  EXPECT_LT(posted, 1'000);
  Read(fd(), text.size() * static_cast<size_t>(posted));
  ASSERT_TRUE(writer_->Flush(kLong, kLong));
  EXPECT_TRUE(writer_->Post(text)) << "there is room again";
}

TEST_F(WriterTest, FlushEndsWhenNobodyReads) {
  EXPECT_TRUE(writer_->Flush(kLong, kLong)) << "nothing to write";
  Fill();
  EXPECT_FALSE(writer_->Flush(milliseconds(20), kLong));
  writer_->StopWaiting();
  EXPECT_FALSE(writer_->Flush(kLong, milliseconds(20)));
}

TEST_F(WriterTest, AStopShortensAFlush) {
  Fill();
  std::thread stopper([this] { writer_->StopWaiting(); });
  EXPECT_FALSE(writer_->Flush(kLong, milliseconds(20)));
  stopper.join();
}

TEST_F(WriterTest, AFailureIsReturnedFromThenOn) {
  EXPECT_EQ(writer_->Write("good"), 0);
  pipe_.first.Reset();
  EXPECT_EQ(writer_->Write("lost"), EPIPE);
  EXPECT_EQ(writer_->Write("lost too"), EPIPE);
  EXPECT_FALSE(writer_->Post("lost too"));
  EXPECT_TRUE(writer_->Flush(kLong, kLong));
}

TEST_F(WriterTest, ItsEndDoesNotWait) {
  Fill();
  const auto start = steady_clock::now();
  writer_.reset();
  EXPECT_LT(steady_clock::now() - start, kLong / 2);
  EXPECT_EQ(Read(fd(), kMoreThanAPipeHolds).size(), kMoreThanAPipeHolds);
}

TEST(WriteAll, WaitsForAPipeThatIsNonBlocking) {
  FdPair pipe = std::move(*OpenPipe());
  ASSERT_EQ(fcntl(pipe.second.get(), F_SETFL, O_NONBLOCK), 0);
  const std::string text(1 << 20, 'x');  // more than a pipe holds
  size_t read_bytes = 0;
  std::thread reader([&] { read_bytes = Read(pipe.first.get(), text.size()).size(); });
  EXPECT_EQ(WriteAll(pipe.second.get(), text), 0);
  reader.join();
  EXPECT_EQ(read_bytes, text.size());
}

}  // namespace
}  // namespace snakepit
