#include "storm/pool_under_test.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "src/base/fd.h"
#include "storm/faults.h"
#include "tools/cpp/runfiles/runfiles.h"

namespace snakepit::storm {
namespace {

using bazel::tools::cpp::runfiles::Runfiles;
using std::chrono::milliseconds;

constexpr milliseconds kCancelGrace{500};
// Less than the longest that a worker is stopped for.
constexpr milliseconds kHealthTimeout{2'000};
// About a round's.
constexpr size_t kLogLines = 300;
// A worker's line is one of a flood.
constexpr char kFloodLine[] = "xxxxxxxx";

// Every mode has its seeds.
Affinity AffinityOf(uint64_t seed) { return static_cast<Affinity>(seed % 3); }

// The folder of the whole project, as far as this program needs it.
Result<std::string> ProjectFolder() {
  // A test says where its files are by the environment; a program has them beside itself.
  std::string error;
  std::error_code ignored;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  const std::unique_ptr<Runfiles> runfiles(std::getenv("TEST_SRCDIR") != nullptr
                                               ? Runfiles::CreateForTest(&error)
                                               : Runfiles::Create(self, &error));
  if (runfiles == nullptr) {
    return Fail(ErrorCode::kInternal, "the workers were not found: " + error);
  }
  return runfiles->Rlocation("snakepit");
}

}  // namespace

PoolUnderTest::PoolUnderTest(const StormOptions& options, Time begin)
    : options_(options), begin_(begin) {}

PoolUnderTest::~PoolUnderTest() {
  pool_.reset();
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

Result<void> PoolUnderTest::Start() {
  const Result<std::string> project = ProjectFolder();
  if (!project) return Fail(project.error());
  folder_ = (std::filesystem::temp_directory_path() / "storm.XXXXXX").string();
  if (mkdtemp(folder_.data()) == nullptr) return Fail(ErrnoError("cannot make " + folder_, errno));
  journal_file_ = folder_ + "/journal";
  control_file_ = folder_ + "/control";
  if (auto written = Faults::WriteControl(control_file_, 0, 0); !written) return written;
  std::ofstream(journal_file_, std::ios::app).flush();

  PoolOptions options = Options();
  options.adapter.argv = {*project + "/storm/worker.sh", "{worker_id}"};
  options.adapter.environment = {{"PYTHONPATH", *project + "/python"},
                                 {"STORM_JOURNAL", journal_file_},
                                 {"STORM_CONTROL", control_file_},
                                 {"STORM_PLANT", options_.plant}};
  if (options_.transport == Transport::kGrpc) {
    for (const char* argument : {"--transport", "grpc", "--socket", "{socket}"}) {
      options.adapter.argv.push_back(argument);
    }
    options.adapter.transport = GrpcTransport{};
  }
  auto pool = Pool::Start(std::move(options));
  if (!pool) return Fail(std::move(pool.error()));
  pool_ = std::move(*pool);
  return {};
}

// All that the storm asks of a pool. Whatever it may then end a call with, or a worker for, is to
// be allowed by MissingCause of check.cc.
PoolOptions PoolUnderTest::Options() {
  PoolOptions options;
  options.workers = options_.workers;
  options.queue.max_calls = MaxQueuedCalls();
  options.queue.timeout = milliseconds(1'000);
  options.stop_grace = milliseconds(2'000);
  options.cancel_grace = kCancelGrace;
  options.restart.initial_backoff = milliseconds(20);
  options.restart.max_backoff = milliseconds(500);
  options.restart.burst = 3;
  options.restart.breaker_cooldown = milliseconds(200);
  options.health.interval = milliseconds(200);
  options.health.timeout = kHealthTimeout;
  options.sessions.affinity = AffinityOf(options_.seed);
  options.recycle.max_calls = 500;
  options.recycle.max_age = milliseconds(5'000);
  options.adapter.start_timeout = milliseconds(8'000);
  options.log = [this](LogLevel, std::string_view line) { Log(line); };
  return options;
}

// Some callers submit many calls at once.
size_t PoolUnderTest::MaxQueuedCalls() const { return static_cast<size_t>(2 * options_.callers); }

Limits PoolUnderTest::limits() const {
  Limits limits;
  limits.cancel_grace = kCancelGrace;
  limits.health_timeout = kHealthTimeout;
  limits.affinity = AffinityOf(options_.seed);
  limits.max_queued_calls = MaxQueuedCalls();
  return limits;
}

void PoolUnderTest::Log(std::string_view line) {
  if (line.ends_with(kFloodLine)) return;
  std::lock_guard lock(log_mutex_);
  const std::chrono::duration<double> time = Now() - begin_;
  log_.push_back(fmt::format("{:9.3f} s  {}", time.count(), line));
  if (log_.size() > kLogLines) log_.pop_front();
}

std::string PoolUnderTest::LogTail() const {
  std::lock_guard lock(log_mutex_);
  std::string text;
  for (const std::string& line : log_) text += line + "\n";
  return text;
}

Journal PoolUnderTest::ReadJournal() {
  std::ifstream file(journal_file_);
  file.seekg(journal_read_);
  const std::string added{std::istreambuf_iterator<char>(file), {}};
  journal_read_ += static_cast<std::streamoff>(added.size());
  return ParseJournal(added);
}

std::vector<pid_t> PoolUnderTest::Remaining(const std::set<pid_t>& pids) const {
  std::vector<pid_t> remaining;
  for (const pid_t pid : pids) {
    // Another process may have got its number.
    const auto environment = ReadFile("/proc/" + std::to_string(pid) + "/environ");
    if (environment && environment->find(journal_file_) != std::string::npos) {
      remaining.push_back(pid);
    }
  }
  return remaining;
}

}  // namespace snakepit::storm
