#include "src/pool/checkups.h"

#include <future>
#include <string>
#include <utility>

#include "src/base/quote.h"
#include "src/pool/options.h"
#include "src/process/proc_figures.h"

namespace snakepit {
namespace {

using std::chrono::steady_clock;

// Time past its deadline for which the answer of a health check is awaited.
constexpr std::chrono::milliseconds kHealthMargin{1'000};

HealthReport ReportOf(const Result<WorkerHealth>& health) {
  if (health) return health->healthy ? HealthReport::kHealthy : HealthReport::kUnhealthy;
  switch (health.error().code) {
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kProtocolError:
      return HealthReport::kSilent;
    case ErrorCode::kHandlerFailed:
      return HealthReport::kUnhealthy;
    case ErrorCode::kWorkerLost:
      return HealthReport::kLost;
    default:
      return HealthReport::kUnknown;
  }
}

void Hide(std::string_view secret, Result<WorkerHealth>* health) {
  const auto hide = [secret](std::string* text) { *text = HideSecret(std::move(*text), secret); };
  if (!*health) return hide(&health->error().message);
  hide(&(*health)->worker_id);
  hide(&(*health)->version);
}

}  // namespace

Result<Checkups::ProcessPtr> Checkups::FindReady(int worker_id) const {
  const Core& core = engine_.core();
  if (worker_id < 0 || worker_id >= static_cast<int>(core.seats().size())) {
    return Fail(ErrorCode::kInvalidArgument,
                PoolPrefix(options_) + "there is no worker " + std::to_string(worker_id));
  }
  const Core::Worker& worker = core.workers()[core.seats()[worker_id].worker];
  if (worker.state == WorkerState::kReady || worker.state == WorkerState::kUnready) {
    return find_(worker.process);
  }
  Error error{.code = ErrorCode::kUnavailable,
              .message = PoolPrefix(options_) + "worker " + std::to_string(worker_id) +
                         " is not ready, but " + std::string(WorkerStateName(worker.state))};
  error.worker_id = worker_id;
  return Fail(std::move(error));
}

Result<WorkerHealth> Checkups::CheckHealth(int worker_id, std::chrono::milliseconds timeout) {
  if (auto valid = TimeRange("timeout", 1).Check(timeout.count()); !valid) {
    return Fail(std::move(valid.error()));
  }
  const SteadyTime deadline = steady_clock::now() + timeout;
  auto promise = std::make_shared<std::promise<Result<WorkerHealth>>>();
  std::future<Result<WorkerHealth>> health = promise->get_future();
  {
    const EngineLock lock(engine_);
    auto found = FindReady(worker_id);
    if (!found) return Fail(std::move(found.error()));
    engine_.Post([process = std::move(*found), deadline, promise] {
      process->connection->CheckHealth(deadline, [process, promise](Result<WorkerHealth> result) {
        Hide(process->secret, &result);
        promise->set_value(std::move(result));
      });
    });
  }
  Result<WorkerHealth> result =
      Fail(ErrorCode::kDeadlineExceeded, "a callback held up the pool's own thread for too long");
  if (health.wait_until(deadline + kHealthMargin) == std::future_status::ready) {
    result = health.get();
  }
  if (!result) result.error().worker_id = worker_id;
  return result;
}

void Checkups::Check(const CheckWorker& effect) {
  engine_.mutex.AssertHeld();
  engine_.Post([this, process = find_(effect.process)] { BeginCheck(process); });
}

void Checkups::BeginCheck(const ProcessPtr& process) {
  const SteadyTime deadline = steady_clock::now() + options_.health.timeout;
  const auto checked = [this, process](const Result<WorkerHealth>& health) {
    OnChecked(*process, health);
  };
  Connection& connection = *process->connection;
  if (connection.checks_while_busy()) return connection.CheckHealth(deadline, checked);
  connection.CheckIdle(deadline, checked);  // the core has kept calls away from the worker
}

void Checkups::OnChecked(WorkerProcess& process, const Result<WorkerHealth>& health) {
  const HealthReport report = ReportOf(health);
  std::string_view news;
  {
    const EngineLock lock(engine_);
    const WorkerState before = StateOf(engine_.core(), process);
    if (report == HealthReport::kSilent) {
      process.fault = SilenceText(health.error(), process.secret, options_);
    }
    engine_.core().HealthReported(process.number, report, steady_clock::now());
    engine_.Settle();
    const WorkerState after = StateOf(engine_.core(), process);
    if (after != before) {
      if (after == WorkerState::kUnready) news = " says that it is not well: it gets no calls";
      if (after == WorkerState::kReady) news = " is well again";
    }
    engine_.changed.notify_all();
  }
  if (!news.empty()) callbacks_.Log(LogLevel::kWarning, process.Name() + std::string(news));
}

void Checkups::Measure(const MeasureWorker& effect) {
  engine_.mutex.AssertHeld();
  engine_.Post([this, process = find_(effect.process)] {
    const auto rss = ReadRssBytes(process->pid);
    const EngineLock lock(engine_);
    engine_.core().MemoryMeasured(process->number, rss.value_or(0), steady_clock::now());
    engine_.Settle();
  });
}

}  // namespace snakepit
