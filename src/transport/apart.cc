#include "src/transport/apart.h"

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <exception>
#include <memory>
#include <thread>
#include <utility>

namespace snakepit {
namespace {

struct Job {
  std::function<void()> work;
  std::function<void()> done;
  std::thread thread;
};

}  // namespace

void RunApart(asio::io_context& io, std::function<void()> work, std::function<void()> done) {
  auto job = std::make_shared<Job>();
  job->work = std::move(work);
  job->done = std::move(done);
  auto end = [job] {
    if (job->thread.joinable()) job->thread.join();
    job->done();
  };
  // It gives its share of the job away: the thread must not destroy what the job holds.
  auto run = [job = job.get(), &io, end, guard = asio::make_work_guard(io)]() mutable {
    job->work();
    asio::post(io, std::move(end));
  };
  try {
    job->thread = std::thread(std::move(run));
  } catch (const std::exception&) {  // there is no thread, or memory, to be had
    job->work();
    asio::post(io, end);
  }
}

}  // namespace snakepit
