#include "src/pool/options.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <map>
#include <regex>
#include <sstream>
#include <string>
#include <utility>

#include "snakepit/pool.h"

namespace snakepit {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

std::string Refusal(const PoolOptions& options) {
  const auto complete = Complete(options);
  return complete ? "" : complete.error().ToString();
}

PoolOptions Valid() {
  PoolOptions options;
  options.adapter.argv = {"worker"};
  return options;
}

TEST(OptionsTest, DefaultsAreFilledIn) {
  const auto complete = Complete(Valid());
  ASSERT_TRUE(complete) << complete.error().ToString();
  EXPECT_GE(complete->workers, 2);
  EXPECT_GE(complete->max_starting, 2);
}

TEST(OptionsTest, AnErrorNamesTheFieldItsRangeAndTheValue) {
  PoolOptions options = Valid();
  options.queue.timeout = hours(25);
  EXPECT_EQ(Refusal(options), "INVALID_ARGUMENT: queue.timeout must be 0 ms to 24 h, not 25 h");
  options = Valid();
  options.sessions.idle_timeout = milliseconds(-1'500);
  EXPECT_EQ(Refusal(options),
            "INVALID_ARGUMENT: sessions.idle_timeout must be 1 ms to 365 days, not -1,500 ms");
  options = Valid();
  options.health.interval = hours(24) + milliseconds(1);
  EXPECT_EQ(Refusal(options),
            "INVALID_ARGUMENT: health.interval must be 0 ms (never) to 24 h, not 86,400,001 ms");
  options = Valid();
  options.restart.burst = 1'000'001;
  EXPECT_EQ(Refusal(options),
            "INVALID_ARGUMENT: restart.burst must be 1 to 1,000,000, not 1,000,001");
  options = Valid();
  options.adapter.transport = GrpcTransport{.max_message_bytes = 1000};
  EXPECT_EQ(Refusal(options),
            "INVALID_ARGUMENT: adapter.transport.max_message_bytes must be 1 KiB to 2 GiB - 1, not "
            "1,000 bytes");
}

TEST(OptionsTest, EachRangeIncludesItsEndsAlone) {
  for (const auto& [range, value] : OptionRanges()) {
    EXPECT_TRUE(range.Check(range.minimum)) << range.name;
    EXPECT_TRUE(range.Check(range.maximum)) << range.name;
    EXPECT_FALSE(range.Check(range.minimum - 1)) << range.name;
    if (range.maximum != Range::kNoMaximum) {
      EXPECT_FALSE(range.Check(range.maximum + 1)) << range.name;
    }
  }
}

TEST(OptionsTest, ALargeUnsignedNumberIsNoNegativeOne) {
  PoolOptions options = Valid();
  options.sessions.max_count = std::numeric_limits<size_t>::max();
  EXPECT_EQ(Refusal(options), "");
}

TEST(OptionsTest, TheFirstBackoffIsNotOverTheLongest) {
  PoolOptions options = Valid();
  options.restart.initial_backoff = options.restart.max_backoff + milliseconds(1);
  EXPECT_EQ(Refusal(options),
            "INVALID_ARGUMENT: restart.initial_backoff must be at most restart.max_backoff");
}

// --- The comments of the public headers ---------------------------------------------------------

// The comments of each field, by "Struct.field": the block above it, or above the fields that it
// stands with, and the comment at the end of its line.
std::map<std::string, std::string> FieldComments(const std::string& path) {
  std::map<std::string, std::string> comments;
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  const std::regex struct_begin(R"(struct (\w+) \{)");
  const std::regex comment_line(R"(\s*// ?(.*))");
  const std::regex field(R"(  [\w:<>, ]+ (\w+)(\{.*\}| = .*)?;\s*(?://\s*(.*))?)");
  std::string structure, block, line;
  bool in_block = false;
  while (std::getline(file, line)) {
    std::smatch match;
    if (std::regex_match(line, match, struct_begin)) {
      structure = match[1];
      block.clear();
    } else if (std::regex_match(line, match, comment_line)) {
      block = (in_block ? block + " " : "") + match[1].str();
      in_block = true;
      continue;
    } else if (std::regex_match(line, match, field)) {
      comments[structure + "." + match[1].str()] = block + " " + match[3].str();
    }
    in_block = false;
  }
  return comments;
}

// "QueueOptions.timeout" for "queue.timeout".
std::string InItsStruct(std::string_view name) {
  static const std::pair<std::string_view, std::string_view> kGroups[] = {
      {"adapter.end.", "WorkerEnd."},
      {"adapter.transport.max_frame", "StdioTransport.max_frame"},
      {"adapter.transport.max_message", "GrpcTransport.max_message"},
      {"adapter.", "Adapter."},
      {"queue.", "QueueOptions."},
      {"sessions.", "SessionOptions."},
      {"restart.", "RestartOptions."},
      {"health.", "HealthOptions."},
      {"recycle.", "RecycleOptions."},
      {"", "PoolOptions."}};
  for (const auto& [prefix, structure] : kGroups) {
    if (name.starts_with(prefix)) {
      return std::string(structure) + std::string(name.substr(prefix.size()));
    }
  }
  return std::string(name);
}

TEST(OptionsTest, TheHeadersStateTheSameRanges) {
  std::map<std::string, std::string> comments = FieldComments("include/snakepit/options.h");
  comments.merge(FieldComments("include/snakepit/adapter.h"));
  for (const OptionRange& option : OptionRanges()) {
    const std::string field = InItsStruct(option.range.name);
    ASSERT_TRUE(comments.contains(field)) << field;
    EXPECT_NE(comments[field].find(option.range.ToString()), std::string::npos)
        << field << " does not say \"" << option.range.ToString() << "\": " << comments[field];
  }
}

}  // namespace
}  // namespace snakepit
