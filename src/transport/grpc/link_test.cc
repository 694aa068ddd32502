#include "src/transport/grpc/link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <optional>

#include "src/transport/grpc/testing/lone_link.h"

namespace snakepit {
namespace {

using std::chrono::milliseconds;

struct Rpc {
  grpc::ClientContext context;
  RpcContexts::Place place{&context};
};

TEST(RpcContexts, ContextsGoInAnyOrder) {
  RpcContexts contexts;
  Rpc rpcs[4];
  for (Rpc& rpc : rpcs) EXPECT_TRUE(contexts.Add(rpc.place));
  EXPECT_EQ(contexts.size(), 4);
  for (const int i : {2, 0, 3}) contexts.Remove(rpcs[i].place);
  contexts.Remove(rpcs[0].place);  // once more
  EXPECT_EQ(contexts.size(), 1);
  contexts.Remove(rpcs[1].place);
  EXPECT_EQ(contexts.size(), 0);
  EXPECT_TRUE(contexts.Add(rpcs[2].place)) << "a place may be used again";
  EXPECT_EQ(contexts.size(), 1);
  contexts.Remove(rpcs[2].place);
}

TEST(RpcContexts, NothingBeginsAfterAnAbort) {
  RpcContexts contexts;
  Rpc before, after;
  contexts.Add(before.place);
  contexts.Abort();
  EXPECT_TRUE(contexts.aborted());
  EXPECT_FALSE(contexts.Add(after.place));
  EXPECT_EQ(contexts.size(), 1) << "the one that is being cancelled";
  contexts.Remove(after.place);
  EXPECT_EQ(contexts.size(), 1);
  contexts.Remove(before.place);
  grpc::ClientContext context;
  EXPECT_FALSE(RpcContexts::Entry(contexts, &context).added());
}

TEST(RpcContexts, AnAbortCancelsThoseThatAreThereAndNoOther) {
  testing::LoneLink lone;
  const auto wire = *lone.link->Wire();
  RpcContexts contexts;
  Rpc rpcs[4];
  for (Rpc& rpc : rpcs) contexts.Add(rpc.place);
  for (const int i : {2, 1}) contexts.Remove(rpcs[i].place);
  contexts.Abort();
  const auto end_of = [&](Rpc& rpc, milliseconds time) {
    rpc.context.set_deadline(std::chrono::system_clock::now() + time);
    GrpcReply<HealthResponse> reply;
    return wire->service().health.Call(&rpc.context, HealthRequest(), &reply).error_code();
  };
  for (const int i : {0, 3}) {
    EXPECT_EQ(end_of(rpcs[i], std::chrono::hours(1)), grpc::StatusCode::CANCELLED) << i;
  }
  for (const int i : {1, 2}) {
    EXPECT_EQ(end_of(rpcs[i], milliseconds(1)), grpc::StatusCode::DEADLINE_EXCEEDED) << i;
  }
}

TEST(RpcContexts, AnEntryLastsAsLongAsItsScope) {
  RpcContexts contexts;
  grpc::ClientContext context;
  {
    const RpcContexts::Entry entry(contexts, &context);
    EXPECT_TRUE(entry.added());
    EXPECT_EQ(contexts.size(), 1);
  }
  EXPECT_EQ(contexts.size(), 0);
}

TEST(GrpcWire, TakesRpcsUntilTheWorkerSaysOtherwise) {
  testing::LoneLink lone;
  const auto wire = *lone.link->Wire();
  EXPECT_TRUE(wire->TakesRpcs());
  wire->SetRefusing();
  EXPECT_FALSE(wire->TakesRpcs());
  EXPECT_FALSE(wire->IsClosed()) << "RPCs that it has may go on";
}

TEST(GrpcWire, ItsEndIsSeenAtOnce) {
  testing::LoneLink lone;
  const auto wire = *lone.link->Wire();
  EXPECT_FALSE(wire->IsClosedWithin(milliseconds(1)));
  lone.sockets.second = UniqueFd();
  EXPECT_TRUE(wire->IsClosed());
  EXPECT_FALSE(wire->TakesRpcs());
}

TEST(GrpcLink, OnlyAStatusThatGrpcGivesMayMeanALoss) {
  using Code = grpc::StatusCode;
  testing::LoneLink lone;
  const auto wire = *lone.link->Wire();
  lone.sockets.second = UniqueFd();
  for (const grpc::Status& status :
       {grpc::Status(Code::UNKNOWN, "Stream removed"), grpc::Status(Code::UNAVAILABLE, "any"),
        grpc::Status(Code::UNKNOWN, "Error in HTTP transport completing operation: x refs=2")}) {
    EXPECT_EQ(lone.link->AwaitEnd(*wire, status), RpcEnd::kLost) << status.error_message();
    std::optional<RpcEnd> end;
    lone.link->FindEnd(wire, status, [&](RpcEnd found) { end = found; });
    lone.io.restart();
    lone.io.run();
    EXPECT_EQ(end, RpcEnd::kLost) << status.error_message();
  }
  EXPECT_EQ(lone.link->AwaitEnd(*wire, {Code::UNKNOWN, "no row 2"}), RpcEnd::kAnswered);
}

TEST(GrpcLink, AnRpcThatBeginsAfterAnAbortIsCancelledOnTheIoContextsThread) {
  testing::LoneLink lone;
  GrpcLink& link = *lone.link;
  const auto wire = *link.Wire();
  auto rpc = link.NewRpc<HealthRequest, HealthResponse>(
      wire, std::chrono::steady_clock::now() + std::chrono::hours(1));
  link.Abort();
  std::optional<grpc::StatusCode> ended;
  link.Start(wire->service().health, link.asks(), rpc,
             [&ended](const grpc::Status& status) { ended = status.error_code(); });
  EXPECT_FALSE(ended) << "not in there";
  lone.io.run();
  EXPECT_EQ(ended, grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace snakepit
