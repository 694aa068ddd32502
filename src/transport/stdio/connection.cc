#include "src/transport/stdio/connection.h"

#include <string_view>

#include "src/base/quote.h"
#include "src/transport/outcome.h"
#include "src/transport/stdio/io_call.h"
#include "src/transport/stdio/thread_call.h"
#include "src/value/json.h"
#include "src/wire/pool_side/message.h"

namespace snakepit {
namespace {

Result<WorkerHealth> HealthOf(const Value& value) {
  const Value* healthy = value.Find("healthy");
  if (healthy == nullptr || healthy->get_if<bool>() == nullptr) {
    return Fail(ErrorCode::kProtocolError,
                "the worker's health does not say `healthy`: " + BriefJson(value));
  }
  const auto number = [&value](std::string_view key) -> int64_t {
    const Value* member = value.Find(key);
    const int64_t* found = member == nullptr ? nullptr : member->get_if<int64_t>();
    return found == nullptr ? 0 : *found;
  };
  return WorkerHealth{.healthy = *healthy->get_if<bool>(),
                      .worker_id = Excerpt(value.TextAt("worker_id"), kMostNameBytes),
                      .uptime = std::chrono::milliseconds(number("uptime_ms")),
                      .total_requests = number("total_requests"),
                      .total_errors = number("total_errors"),
                      .calls_in_flight = static_cast<int>(number("calls_in_flight")),
                      .version = Excerpt(value.TextAt("version"), kMostNameBytes)};
}

}  // namespace

CallOutcome<Value> StdioConnection::Call(const CallRequest& request) {
  StdioThreadCall call(*link_, request, nullptr);
  Run(call);
  return call.call().TakeOutcome();
}

CallOutcome<int64_t> StdioConnection::Stream(const CallRequest& request,
                                             const ChunkCallback& on_chunk) {
  if (!agreement().stream) return AsStream(Call(request), on_chunk);
  StdioThreadCall call(*link_, request, &on_chunk);
  Run(call);
  return call.call().TakeStreamOutcome();
}

void StdioConnection::Run(StdioThreadCall& call) {
  const CallRequest& request = call.request();
  if (request.stop.stop_requested()) return call.call().Fail(NotBegun(), AfterCall::kUnsent);
  call.set_id(link_->NextId());
  static thread_local std::string frame;
  if (auto encoded = Encode(call.id(), request, call.is_stream(), &frame); !encoded) {
    return call.call().Fail(std::move(encoded.error()), AfterCall::kUnsent);
  }
  call.Run(&frame);
}

Result<void> StdioConnection::Encode(uint64_t id, const CallRequest& request, bool stream,
                                     std::string* frame) const {
  return EncodeRequestFrame(
      agreement().codec,
      {
          .id = id,
          .command = request.command,
          .args = request.args,
          .version = agreement().version,
          .stream = stream,
          .credit = stream ? StdioReceiver::kStreamCredit : 0,
          .session_id = agreement().session ? request.session_id : std::string_view(),
          .timeout_ms = MillisecondsUntil(request.deadline),
      },
      {.max_bytes = agreement().max_frame_bytes,
       .deadline = request.deadline,
       .stop = request.stop},
      frame);
}

void StdioConnection::CallAsync(const CallRequest& request,
                                std::function<void(CallOutcome<Value>)> done) {
  if (request.stop.stop_requested()) return done({Fail(NotBegun()), AfterCall::kUnsent});
  Begin(std::make_shared<StdioIoCall>(
      *link_, request, nullptr,
      [done = std::move(done)](StdioCall& ended) { done(ended.TakeOutcome()); }));
}

void StdioConnection::StreamAsync(const CallRequest& request, ChunkCallback on_chunk,
                                  std::function<void(CallOutcome<int64_t>)> done) {
  if (!agreement().stream) {
    return CallAsync(
        request, [on_chunk = std::move(on_chunk), done = std::move(done)](
                     CallOutcome<Value> outcome) { done(AsStream(std::move(outcome), on_chunk)); });
  }
  if (request.stop.stop_requested()) return done({Fail(NotBegun()), AfterCall::kUnsent});
  Begin(std::make_shared<StdioIoCall>(
      *link_, request, std::move(on_chunk),
      [done = std::move(done)](StdioCall& ended) { done(ended.TakeStreamOutcome()); }));
}

void StdioConnection::Begin(std::shared_ptr<StdioIoCall> call) {
  call->set_id(link_->NextId());
  std::string frame;
  if (auto encoded = Encode(call->id(), call->request(), call->is_stream(), &frame); !encoded) {
    return call->Refuse(std::move(encoded.error()));
  }
  call->WatchStop();
  link_->Begin(std::move(call), &frame);
}

void StdioConnection::CheckHealth(SteadyTime deadline,
                                  std::function<void(Result<WorkerHealth>)> done) {
  if (agreement().version < 2) {
    return done(Fail(ErrorCode::kUnimplemented,
                     "a worker of protocol version 1 on stdio has no health but `ping`"));
  }
  auto answered = [link = std::weak_ptr(link_), before = link_->replies(),
                   done = std::move(done)](StdioCall& ended) {
    CallOutcome<Value> outcome = ended.TakeOutcome();
    if (outcome.result) return done(HealthOf(*outcome.result));
    Error& error = outcome.result.error();
    const auto self = link.lock();
    if (error.code == ErrorCode::kDeadlineExceeded && self && self->replies() != before) {
      return done(Fail(ErrorCode::kUnavailable, kBusyWithCalls));
    }
    done(Fail(std::move(error)));
  };
  auto question =
      std::make_shared<StdioIoCall>(*link_, CallRequest{.command = "health", .deadline = deadline},
                                    nullptr, std::move(answered), StdioIoCall::Kind::kQuestion);
  question->set_id(link_->NextId());
  std::string frame;
  AppendHealthFrame(agreement().codec, question->id(), &frame);
  link_->Begin(std::move(question), &frame);
}

void StdioConnection::CheckIdle(SteadyTime deadline,
                                std::function<void(Result<WorkerHealth>)> done) {
  if (agreement().version >= 2) return CheckHealth(deadline, std::move(done));
  // The ping with which it became ready. PROTOCOL.md 2.5.4.
  const auto args = std::make_shared<const Value>(Value::Map{{"health_check", true}});
  const CallRequest ping{.command = "ping", .args = args.get(), .deadline = deadline};
  CallAsync(ping, [args, done = std::move(done)](CallOutcome<Value> outcome) {
    if (outcome.result || outcome.result.error().code == ErrorCode::kHandlerFailed ||
        outcome.result.error().code == ErrorCode::kUnimplemented) {
      return done(WorkerHealth{.healthy = true});  // it answers
    }
    if (outcome.after == AfterCall::kLost) outcome.result.error().code = ErrorCode::kWorkerLost;
    done(Fail(std::move(outcome.result.error())));
  });
}

void StdioConnection::EndSession(const std::string& session_id) {
  if (!agreement().session) return;
  std::string frame;
  AppendEndSessionFrame(agreement().codec, session_id, &frame);
  link_->Send(&frame);
}

}  // namespace snakepit
