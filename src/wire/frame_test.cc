#include "src/wire/frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

namespace snakepit {
namespace {

constexpr size_t kLimit = 1 << 20;

std::string Frame(std::string_view payload) {
  std::string out;
  const size_t start = BeginFrame(&out);
  out += payload;
  EXPECT_TRUE(EndFrame(&out, start, UINT32_MAX).has_value());
  return out;
}

void Receive(FrameReader& reader, std::string_view bytes) {
  while (!bytes.empty()) {
    const std::span<char> room = reader.Writable();
    ASSERT_FALSE(room.empty());
    const size_t n = std::min(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), n);
    reader.Commit(n);
    bytes.remove_prefix(n);
  }
}

// All payloads that are complete; a failure ends them with its text.
std::vector<std::string> Drain(FrameReader& reader) {
  std::vector<std::string> payloads;
  while (true) {
    const auto next = reader.Next();
    if (!next) {
      payloads.push_back(next.error().ToString());
      return payloads;
    }
    if (!*next) return payloads;
    payloads.emplace_back(**next);
  }
}

std::string ErrorOf(std::string_view bytes, size_t limit = kLimit) {
  FrameReader reader(limit);
  Receive(reader, bytes);
  const auto next = reader.Next();
  return next ? "none" : next.error().ToString();
}

TEST(EncodeFrameTest, TheHeaderIsTheBigEndianLength) {
  EXPECT_EQ(Frame("ab"), std::string("\0\0\0\2ab", 6));
  EXPECT_EQ(Frame(std::string(0x010203, 'x')).substr(0, 4), std::string("\0\1\2\3", 4));
}

TEST(EncodeFrameTest, APayloadOverTheLimitIsTakenBack) {
  std::string out = "before";
  const size_t start = BeginFrame(&out);
  out += "12345";
  const Result<void> result = EndFrame(&out, start, 4);
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().ToString(),
            "MESSAGE_TOO_LARGE: a message of 5 bytes is over the limit of 4");
  EXPECT_EQ(out, "before");
}

// Every way to receive a stream of three frames in up to four pieces.
TEST(FrameReaderTest, PayloadsDoNotDependOnHowTheBytesArrive) {
  const std::vector<std::string> payloads = {"a", "hello", std::string("\0\0\0\1", 4)};
  std::string stream;
  for (const std::string& payload : payloads) stream += Frame(payload);
  const size_t n = stream.size();
  for (size_t i = 0; i <= n; ++i) {
    for (size_t j = i; j <= n; ++j) {
      for (size_t k = j; k <= n; ++k) {
        FrameReader reader(kLimit);
        std::vector<std::string> seen;
        const size_t cuts[] = {0, i, j, k, n};
        for (size_t piece = 0; piece + 1 < std::size(cuts); ++piece) {
          Receive(reader,
                  std::string_view(stream).substr(cuts[piece], cuts[piece + 1] - cuts[piece]));
          for (std::string& payload : Drain(reader)) seen.push_back(std::move(payload));
        }
        ASSERT_EQ(seen, payloads) << i << ' ' << j << ' ' << k;
        ASSERT_TRUE(reader.empty());
      }
    }
  }
}

TEST(FrameReaderTest, OneByteAtATimeGivesEachPayloadWithItsLastByte) {
  const std::string stream = Frame("one") + Frame(std::string(40'000, 'x')) + Frame("three");
  FrameReader reader(kLimit);
  std::vector<size_t> ends;
  for (size_t i = 0; i < stream.size(); ++i) {
    Receive(reader, stream.substr(i, 1));
    if (!Drain(reader).empty()) ends.push_back(i + 1);
  }
  EXPECT_EQ(ends, (std::vector<size_t>{7, 40'011, 40'020}));
}

TEST(FrameReaderTest, ManyFramesOfAllSizesComeOutInOrder) {
  FrameReader reader(kLimit);
  std::string stream;
  std::vector<std::string> payloads;
  for (size_t i = 0; i < 400; ++i) {
    payloads.push_back(std::string(1 + (i * 7919) % 9001, static_cast<char>('a' + i % 26)));
    stream += Frame(payloads.back());
  }
  std::vector<std::string> seen;
  for (size_t at = 0; at < stream.size(); at += 5003) {
    Receive(reader, std::string_view(stream).substr(at, 5003));
    for (std::string& payload : Drain(reader)) seen.push_back(std::move(payload));
  }
  EXPECT_EQ(seen, payloads);
  EXPECT_LE(reader.capacity(), 64u << 10);
}

TEST(FrameReaderTest, AFrameOfExactlyTheLimitIsAccepted) {
  FrameReader reader(10);
  Receive(reader, Frame("0123456789"));
  EXPECT_EQ(Drain(reader), std::vector<std::string>{"0123456789"});
}

TEST(FrameReaderTest, OneByteOverTheLimitIsAnErrorAsSoonAsTheHeaderIsThere) {
  EXPECT_EQ(
      ErrorOf(std::string("\0\0\0\x0b", 4), 10),
      "PROTOCOL_ERROR: frame header \"\\x00\\x00\\x00\\x0b\" (00 00 00 0b) at stream offset 0 "
      "claims 11 bytes, over the limit of 10; unexpected bytes: \"\\x00\\x00\\x00\\x0b\"");
}

TEST(FrameReaderTest, ZeroLengthFrameIsAnError) {
  EXPECT_EQ(
      ErrorOf(std::string("\0\0\0\0", 4)),
      "PROTOCOL_ERROR: frame header \"\\x00\\x00\\x00\\x00\" (00 00 00 00) at stream offset 0 "
      "claims no bytes; unexpected bytes: \"\\x00\\x00\\x00\\x00\"");
}

TEST(FrameReaderTest, PollutionIsShownWithItsPlaceInTheStream) {
  FrameReader reader(kLimit);
  Receive(reader, Frame("{}") + "hello\n");
  EXPECT_EQ(Drain(reader),
            (std::vector<std::string>{
                "{}",
                "PROTOCOL_ERROR: frame header \"hell\" (68 65 6c 6c) at stream offset 6 claims "
                "1751477356 bytes, over the limit of 1048576; the worker probably printed to "
                "stdout; unexpected bytes: \"hello\\n\""}));
}

TEST(FrameReaderTest, ShortPrintedLinesAreRecognised) {
  EXPECT_NE(ErrorOf("\n" + Frame("{}")).find("printed to stdout"), std::string::npos);
  EXPECT_NE(ErrorOf("ok\n" + Frame("{}")).find("printed to stdout"), std::string::npos);
  EXPECT_EQ(ErrorOf("\xff\xfe\xfd\xfc").find("printed to stdout"), std::string::npos);
}

TEST(FrameReaderTest, AnErrorStays) {
  FrameReader reader(kLimit);
  Receive(reader, "hello\n");
  const std::vector<std::string> first = Drain(reader);
  Receive(reader, Frame("{}"));
  EXPECT_EQ(Drain(reader), first);
}

TEST(FrameReaderTest, AClaimOf2GiBAllocatesNothing) {
  FrameReader reader(size_t{1} << 31);
  Receive(reader, std::string("\x7f\xff\xff\xff", 4) + "few");
  EXPECT_TRUE(Drain(reader).empty());
  reader.Writable();
  EXPECT_LE(reader.capacity(), 16u << 10);
}

TEST(FrameReaderTest, MemoryFollowsTheBytesReceived) {
  FrameReader reader(size_t{1} << 31);
  Receive(reader, std::string("\x7f\xff\xff\xff", 4));
  const std::string piece(10'000, 'x');
  for (size_t received = piece.size(); received < (8u << 20); received += piece.size()) {
    Receive(reader, piece);
    ASSERT_TRUE(Drain(reader).empty());
    reader.Writable();
    ASSERT_LE(reader.capacity(), std::max<size_t>(16 << 10, 4 * received));
  }
}

TEST(FrameReaderTest, TheBufferOfAHugeFrameIsGivenBack) {
  FrameReader reader(64 << 20);
  Receive(reader, Frame(std::string(32 << 20, 'x')));
  ASSERT_EQ(Drain(reader).size(), 1u);
  EXPECT_GE(reader.capacity(), 32u << 20);
  reader.Writable();
  EXPECT_LE(reader.capacity(), 16u << 10);
}

TEST(FrameReaderTest, APayloadCanBeTakenOutWithOrWithoutWhatFollows) {
  const std::string large(300'000, 'a');
  for (const std::string& next : {std::string(), std::string("next"), std::string(20'000, 'b')}) {
    FrameReader reader(kLimit);
    Receive(reader, Frame(large) + (next.empty() ? "" : Frame(next)));
    const auto payload = reader.Next();
    ASSERT_TRUE(payload && *payload);
    const char* const place = (*payload)->data();
    const TakenPayload taken = reader.Take(**payload);
    EXPECT_EQ(taken.bytes.data() == place, next.empty()) << "copied, or not";
    EXPECT_EQ(reader.empty(), next.empty());
    EXPECT_EQ(Drain(reader), next.empty() ? std::vector<std::string>() : std::vector{next});
    Receive(reader, Frame("last"));
    EXPECT_EQ(Drain(reader), std::vector<std::string>{"last"});
    EXPECT_EQ(taken.bytes, large);
  }
}

TEST(FrameReaderTest, SmallFramesReuseOneBuffer) {
  FrameReader reader(kLimit);
  const std::string frame = Frame(std::string(64, 'x'));
  Receive(reader, frame);
  Drain(reader);
  const size_t capacity = reader.capacity();
  const char* const data = reader.Writable().data();
  for (int i = 0; i < 1000; ++i) {
    Receive(reader, frame);
    ASSERT_EQ(Drain(reader).size(), 1u);
    ASSERT_EQ(reader.Writable().data(), data);
    ASSERT_EQ(reader.capacity(), capacity);
  }
}

TEST(FrameReaderTest, AnUnfinishedFrameIsDescribed) {
  FrameReader reader(kLimit);
  EXPECT_TRUE(reader.empty());
  EXPECT_EQ(reader.DescribePartial(), "");
  Receive(reader, Frame("ab") + std::string("\0\0", 2));
  Drain(reader);
  EXPECT_FALSE(reader.empty());
  EXPECT_EQ(reader.DescribePartial(),
            "2 bytes of a frame header at stream offset 6: \"\\x00\\x00\"");
  Receive(reader, std::string("\0\x09{", 3));
  EXPECT_EQ(reader.DescribePartial(),
            "1 of 9 bytes of a frame at stream offset 6: \"\\x00\\x00\\x00\\t{\"");
}

TEST(FrameReaderTest, AWorkerTakesAnEmptyPayload) {
  FrameReader reader(100, 0);
  const std::string_view stream("\0\0\0\0\0\0\0\1x\0\0\0\x65", 13);
  stream.copy(reader.Writable().data(), stream.size());
  reader.Commit(stream.size());
  EXPECT_EQ(reader.Next().value(), std::string_view());
  EXPECT_EQ(reader.Next().value(), "x");
  EXPECT_FALSE(reader.Next().has_value());  // 101 bytes are still too many
}

}  // namespace
}  // namespace snakepit
