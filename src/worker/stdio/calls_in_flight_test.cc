#include "src/worker/stdio/calls_in_flight.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <optional>
#include <stop_token>

namespace snakepit {
namespace {

CallsInFlight::CallPtr CallOf(int64_t id) {
  auto call = std::make_shared<StdioPendingCall>();
  call->id = id;
  return call;
}

TEST(CallsInFlightTest, AnIdIsTakenUntilItsCallIsRemoved) {
  CallsInFlight calls;
  const auto first = CallOf(7);
  EXPECT_TRUE(calls.Add(first));
  EXPECT_FALSE(calls.Add(CallOf(7)));
  EXPECT_EQ(calls.Find(7), first);
  EXPECT_TRUE(calls.Add(CallOf(8)));
  calls.Remove(7);
  EXPECT_EQ(calls.Find(7), nullptr);
  EXPECT_NE(calls.Find(8), nullptr);
  EXPECT_TRUE(calls.Add(CallOf(7)));
}

TEST(CallsInFlightTest, TheEndOfCreditEndsTheWaitOfEachStream) {
  CallsInFlight calls;
  const auto plain = CallOf(1);
  const auto stream = CallOf(2);
  stream->credit.emplace(0);
  ASSERT_TRUE(calls.Add(plain));
  ASSERT_TRUE(calls.Add(stream));
  auto taken = std::async(std::launch::async, [&] {
    return stream->credit->Take(1, stream->stop.get_token(), std::nullopt);
  });
  calls.EndCredit();
  EXPECT_EQ(taken.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  stream->stop.request_stop();
  EXPECT_FALSE(taken.get());
}

TEST(CallsInFlightTest, AHandlerThatIsAskedToStopMayEndItsCall) {
  CallsInFlight calls;
  const auto first = CallOf(1);
  const auto second = CallOf(2);
  ASSERT_TRUE(calls.Add(first));
  ASSERT_TRUE(calls.Add(second));
  const auto end = [&calls](int64_t id) { return [&calls, id] { calls.Remove(id); }; };
  const std::stop_callback on_first(first->stop.get_token(), end(1));
  const std::stop_callback on_second(second->stop.get_token(), end(2));
  calls.StopAll();
  EXPECT_EQ(calls.Find(1), nullptr);
  EXPECT_EQ(calls.Find(2), nullptr);
}

}  // namespace
}  // namespace snakepit
