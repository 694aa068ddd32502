// A worker on stdio that the test plays, and the connection to it.
#ifndef SNAKEPIT_TRANSPORT_STDIO_TESTING_FIXTURE_H_
#define SNAKEPIT_TRANSPORT_STDIO_TESTING_FIXTURE_H_

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "src/base/fd.h"
#include "src/transport/stdio/handshake.h"
#include "src/wire/frame.h"
#include "src/wire/worker_side/handshake.h"
#include "src/wire/worker_side/message.h"

namespace snakepit {

inline constexpr size_t kMaxTestFrameBytes = 32 << 20;

inline SteadyTime In(std::chrono::steady_clock::duration time) {
  return std::chrono::steady_clock::now() + time;
}

// The worker's end of its stdin and stdout: blocking, as a simple worker is.
class StdioPeer {
 public:
  StdioPeer(UniqueFd input, UniqueFd output)
      : input_(std::move(input)), output_(std::move(output)), reader_(kMaxTestFrameBytes) {}

  // The payload of the next frame; nothing at the end.
  std::optional<std::string> ReadPayload() {
    for (;;) {
      auto payload = reader_.Next();
      if (!payload) return std::nullopt;
      if (*payload) return std::string(**payload);
      const std::span<char> room = reader_.Writable();
      const ssize_t n = recv(input_.get(), room.data(), room.size(), 0);
      if (n <= 0) return std::nullopt;
      reader_.Commit(static_cast<size_t>(n));
    }
  }

  // The next message; of the kind kUnknown at the end.
  PoolMessage Read() {
    const auto payload = ReadPayload();
    if (!payload) return {.kind = PoolMessage::Kind::kUnknown};
    auto message = DecodePoolMessage(agreement, *payload);
    EXPECT_TRUE(message) << message.error().error.message;
    return message ? std::move(*message) : PoolMessage{.kind = PoolMessage::Kind::kUnknown};
  }

  // True if a message comes within that time.
  bool HasMessage(std::chrono::milliseconds within) {
    pollfd entry{.fd = input_.get(), .events = POLLIN, .revents = 0};
    return !reader_.empty() || poll(&entry, 1, static_cast<int>(within.count())) > 0;
  }

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(output_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
  }

  void Result(int64_t id, const Value& value) {
    std::string frame;
    ASSERT_TRUE(EncodeResultFrame(agreement.codec, agreement.version, id, value, kMaxTestFrameBytes,
                                  &frame));
    Send(frame);
  }

  // Returns the bytes that it takes off the credit.
  size_t Chunk(int64_t id, int64_t index, bool final, const Value& value) {
    std::string frame;
    size_t bytes = 0;
    EXPECT_TRUE(EncodeChunkFrame(agreement.codec, id, index, final, &value, kMaxTestFrameBytes,
                                 &frame, &bytes));
    Send(frame);
    return bytes;
  }

  void EndOfStream(int64_t id, int64_t index) {
    std::string frame;
    size_t bytes = 0;
    EXPECT_TRUE(EncodeChunkFrame(agreement.codec, id, index, true, nullptr, kMaxTestFrameBytes,
                                 &frame, &bytes));
    Send(frame);
  }

  void Failure(std::optional<int64_t> id, ErrorCode code, int64_t chunk_index = -1) {
    std::string frame;
    EncodeFailureFrame(agreement.codec, agreement.version, id,
                       {.code = code, .message = "failed", .may_have_run = true}, chunk_index,
                       kMaxTestFrameBytes, &frame);
    Send(frame);
  }

  void Close() {
    shutdown(input_.get(), SHUT_RDWR);
    shutdown(output_.get(), SHUT_RDWR);
  }

  Agreement agreement;

 private:
  UniqueFd input_;
  UniqueFd output_;
  FrameReader reader_;
};

class StdioFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    thread_ = std::thread([this] { io_.run(); });
    FdPair input = *OpenSocketPair();
    FdPair output = *OpenSocketPair();
    channel_ = std::make_shared<FrameChannel>(std::move(input.first), std::move(output.first),
                                              kMaxTestFrameBytes);
    peer_.emplace(std::move(input.second), std::move(output.second));
  }

  void TearDown() override {
    if (peer_) peer_->Close();
    connection_ = nullptr;
    work_.reset();
    const SteadyTime begin = std::chrono::steady_clock::now();
    thread_.join();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10))
        << "a timer was left behind";
  }

  // A worker of version 2 with that capacity, in MessagePack; of version 1 with capacity 0.
  void Connect(int capacity, std::chrono::milliseconds cancel_grace = std::chrono::seconds(20),
               size_t max_decoded_bytes = SIZE_MAX) {
    std::promise<Result<std::shared_ptr<Connection>>> ready;
    asio::post(io_, [&] {
      ConnectStdio(io_, channel_, {.max_frame_bytes = kMaxTestFrameBytes}, max_decoded_bytes,
                   "worker_0", cancel_grace, In(std::chrono::seconds(20)),
                   [&ready](auto result) { ready.set_value(std::move(result)); });
    });
    const auto opening = DecodeOpening(*peer_->ReadPayload());
    ASSERT_TRUE(opening && opening->offer);
    peer_->agreement = AgreeTo(*opening->offer);
    if (capacity == 0) {
      peer_->agreement.version = 1;
      peer_->agreement.stream = peer_->agreement.session = false;
    } else {
      peer_->agreement.capacity = capacity;
      peer_->agreement.stream = peer_->agreement.stream && stream_;
    }
    std::string answer;
    EncodeAnswerFrame(peer_->agreement, &answer);
    peer_->Send(answer);
    const PoolMessage ping = peer_->Read();
    ASSERT_EQ(ping.command, "ping");
    peer_->Result(ping.id, Value::Map{{"status", "ok"}});
    auto connection = ready.get_future().get();
    ASSERT_TRUE(connection) << connection.error().ToString();
    connection_ = *connection;
    EXPECT_EQ(connection_->agreement().capacity, std::max(1, capacity));
  }

  CallRequest Request(std::string_view command,
                      SteadyTime deadline = In(std::chrono::seconds(20))) {
    return {.command = command, .deadline = deadline, .released = [this](AfterCall after) {
              released_.set_value(after);
            }};
  }

  std::future<CallOutcome<Value>> CallOnThread(CallRequest request) {
    return std::async(std::launch::async, [this, request] { return connection_->Call(request); });
  }

  std::future<CallOutcome<int64_t>> StreamOnThread(CallRequest request, ChunkCallback on_chunk) {
    return std::async(std::launch::async,
                      [this, request, on_chunk] { return connection_->Stream(request, on_chunk); });
  }

  // The end is told on the io thread.
  std::future<CallOutcome<int64_t>> StreamAsync(CallRequest request, ChunkCallback on_chunk) {
    auto done = std::make_shared<std::promise<CallOutcome<int64_t>>>();
    asio::post(io_, [=, this] {
      connection_->StreamAsync(request, on_chunk, [this, done](CallOutcome<int64_t> outcome) {
        EXPECT_EQ(std::this_thread::get_id(), thread_.get_id());
        done->set_value(std::move(outcome));
      });
    });
    return done->get_future();
  }

  // Waits for `released`, and returns its argument.
  AfterCall Released() { return released_.get_future().get(); }

  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
  std::thread thread_;
  std::shared_ptr<FrameChannel> channel_;
  std::optional<StdioPeer> peer_;
  std::shared_ptr<Connection> connection_;
  std::promise<AfterCall> released_;
  bool stream_ = true;  // a worker of version 2 has streams
};

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_STDIO_TESTING_FIXTURE_H_
