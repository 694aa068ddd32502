#include "src/worker/testing/stdio_peer.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace snakepit::testing {

StdioPeer::StdioPeer(UniqueFd to_worker, UniqueFd from_worker)
    : to_worker_(std::move(to_worker)), from_worker_(std::move(from_worker)) {}

Agreement StdioPeer::Negotiate(Codec codec, size_t max_frame_bytes) {
  const Offer offer{.codecs = {codec}, .max_frame_bytes = max_frame_bytes};
  std::string frame;
  EncodeOfferFrame(offer, &frame);
  SendBytes(frame);
  const auto payload = ReceivePayload();
  if (!payload) return {};
  auto agreement = DecodeOfferReply(*payload, offer);
  EXPECT_TRUE(agreement) << agreement.error().ToString();
  if (!agreement) return {};
  Assume(agreement->codec, agreement->version);
  return *agreement;
}

void StdioPeer::Assume(Codec codec, int version) {
  codec_ = codec;
  version_ = version;
}

uint64_t StdioPeer::Send(std::string_view command, const Value& args, const Options& options) {
  const Request request{.id = options.id != 0 ? options.id : next_id_++,
                        .command = command,
                        .args = &args,
                        .version = version_,
                        .stream = options.stream,
                        .credit = options.credit,
                        .session_id = options.session_id,
                        .timeout_ms = options.timeout_ms};
  std::string frame;
  const auto encoded = EncodeRequestFrame(codec_, request, {.max_bytes = UINT32_MAX}, &frame);
  EXPECT_TRUE(encoded) << encoded.error().ToString();
  SendBytes(frame);
  return request.id;
}

void StdioPeer::Cancel(uint64_t id) {
  std::string frame;
  AppendCancelFrame(codec_, id, &frame);
  SendBytes(frame);
}

void StdioPeer::Grant(uint64_t id, int64_t bytes) {
  std::string frame;
  AppendCreditFrame(codec_, id, bytes, &frame);
  SendBytes(frame);
}

void StdioPeer::EndSession(std::string_view session_id) {
  std::string frame;
  AppendEndSessionFrame(codec_, session_id, &frame);
  SendBytes(frame);
}

uint64_t StdioPeer::AskHealth() {
  std::string frame;
  AppendHealthFrame(codec_, next_id_, &frame);
  SendBytes(frame);
  return next_id_++;
}

void StdioPeer::SendPayload(std::string_view payload) {
  std::string frame;
  const size_t start = BeginFrame(&frame);
  frame += payload;
  EXPECT_TRUE(EndFrame(&frame, start, UINT32_MAX));
  SendBytes(frame);
}

void StdioPeer::SendBytes(std::string_view bytes) {
  while (!bytes.empty()) {
    pollfd entry{.fd = to_worker_.get(), .events = POLLOUT, .revents = 0};
    if (poll(&entry, 1, std::chrono::milliseconds(kLimit).count()) == 0) {
      ADD_FAILURE() << "the worker does not read";
      return;
    }
    ssize_t size = send(to_worker_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size < 0 && errno == ENOTSOCK) size = write(to_worker_.get(), bytes.data(), bytes.size());
    if (size < 0) return;  // The worker has ended, which shows when its reply is read.
    bytes.remove_prefix(static_cast<size_t>(size));
  }
}

void StdioPeer::CloseInput() {
  shutdown(to_worker_.get(), SHUT_WR);
  to_worker_.Reset();
}

std::optional<std::string> StdioPeer::ReceivePayload() {
  for (;;) {
    auto payload = reader_.Next();
    EXPECT_TRUE(payload) << payload.error().ToString();
    if (!payload) return std::nullopt;
    if (*payload) {
      last_payload_bytes_ = (*payload)->size();
      return std::string(**payload);
    }
    pollfd entry{.fd = from_worker_.get(), .events = POLLIN, .revents = 0};
    if (poll(&entry, 1, std::chrono::milliseconds(kLimit).count()) == 0) {
      ADD_FAILURE() << "the worker does not reply";
      return std::nullopt;
    }
    const std::span<char> room = reader_.Writable();
    const ssize_t size = read(from_worker_.get(), room.data(), room.size());
    if (size <= 0) {
      EXPECT_EQ(reader_.DescribePartial(), "");
      return std::nullopt;
    }
    reader_.Commit(static_cast<size_t>(size));
  }
}

std::optional<Reply> StdioPeer::Receive() {
  const auto payload = ReceivePayload();
  if (!payload) return std::nullopt;
  auto reply = DecodeReply(codec_, version_, *payload);
  EXPECT_TRUE(reply) << reply.error().ToString();
  if (!reply) return std::nullopt;
  return *std::move(reply);
}

bool StdioPeer::IsQuiet() {
  pollfd entry{.fd = from_worker_.get(), .events = POLLIN, .revents = 0};
  return reader_.empty() && poll(&entry, 1, 0) == 0;
}

Reply StdioPeer::Call(std::string_view command, const Value& args, const Options& options) {
  const uint64_t id = Send(command, args, options);
  auto reply = Receive();
  if (!reply) {
    ADD_FAILURE() << "no reply to " << command;
    return {};
  }
  EXPECT_EQ(reply->id, static_cast<int64_t>(id));
  return *std::move(reply);
}

}  // namespace snakepit::testing
