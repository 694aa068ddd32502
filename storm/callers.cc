#include "storm/callers.h"

#include <fmt/format.h>

#include <latch>
#include <memory>
#include <string>
#include <utility>

namespace snakepit::storm {

class Callers::Caller {
 public:
  Caller(Callers& callers, int round, int number)
      : callers_(callers),
        random_(callers.seed_, static_cast<uint64_t>(round) << 32 | static_cast<uint64_t>(number)),
        name_(fmt::format("s{}.{}", round, number)) {}

  void Loop() {
    while (!callers_.stopping_) {
      const int64_t draw = random_.Between(1, 100);
      if (draw <= 40) {
        callers_.recorder_.Run(Work());
      } else if (draw <= 65) {
        callers_.recorder_.Run(Chunks());
      } else if (draw <= 85) {
        UseSession();
      } else {
        SubmitSome();
      }
      std::this_thread::sleep_for(random_.Milliseconds(0, 10));  // the pace of the calls
    }
  }

 private:
  CallPlan Plan(Command command, Method method) {
    CallPlan plan;
    plan.call.command = command;
    plan.call.method = method;
    plan.call.timeout = random_.Milliseconds(kLeastTimeout / std::chrono::milliseconds(1),
                                             kMostTimeout / std::chrono::milliseconds(1));
    plan.call.queue_timeout = random_.Milliseconds(200, 1'500);
    if (random_.Percent(10)) plan.stop_after = random_.Milliseconds(0, 40);
    return plan;
  }

  CallPlan Work(Method method = Method::kExecute) {
    CallPlan plan = Plan(Command::kWork, method);
    const int64_t ms = random_.Percent(5) ? random_.Between(50, 300) : random_.Between(0, 8);
    plan.call.work = std::chrono::milliseconds(ms);
    plan.call.detail = fmt::format("of {} ms", ms);
    plan.args["ms"] = ms;
    return plan;
  }

  CallPlan Chunks() {
    CallPlan plan = Plan(Command::kChunks, Method::kStream);
    const int64_t count = random_.Between(1, 30);
    // One in ten is larger than the credit of a stream.
    const int64_t bytes = random_.Percent(10) ? random_.Between(16'000, 48'000) : 16;
    plan.call.chunks_wanted = count;
    plan.call.detail = fmt::format("{} of {} bytes", count, bytes);
    plan.args["count"] = count;
    plan.args["bytes"] = bytes;
    if (random_.Percent(10)) plan.refused_chunk = random_.Between(0, count - 1);
    return plan;
  }

  void UseSession() {
    CallPlan plan = random_.Percent(20) ? Chunks() : Plan(Command::kRemember, Method::kExecute);
    plan.call.session = fmt::format("{}.{}", name_, session_);
    const auto error = callers_.recorder_.Run(std::move(plan));
    if (error != ErrorCode::kSessionLost && !random_.Percent(3)) return;
    callers_.pool_.EndSession(fmt::format("{}.{}", name_, session_));
    // Another name, since a cancelled call may still begin the session anew.
    ++session_;
  }

  void SubmitSome() {
    const int64_t count = random_.Between(1, 8);
    const auto ended = std::make_shared<std::latch>(count);
    for (int64_t i = 0; i < count; ++i) {
      callers_.recorder_.Submit(Work(Method::kSubmit), [ended] { ended->count_down(); });
    }
    ended->wait();
  }

  Callers& callers_;
  Random random_;
  const std::string name_;
  int64_t session_ = 0;
};

Callers::Callers(Pool& pool, Recorder& recorder, uint64_t seed, int count)
    : pool_(pool), recorder_(recorder), seed_(seed), count_(count) {}

void Callers::Start(int round) {
  stopping_ = false;
  for (int i = 0; i < count_; ++i) {
    threads_.emplace_back([this, round, i] { Caller(*this, round, i).Loop(); });
  }
}

void Callers::Join() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

}  // namespace snakepit::storm
