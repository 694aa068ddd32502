#include "src/transport/apart.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace snakepit {
namespace {

// Notes the thread on which the last copy of it goes.
struct Trace {
  ~Trace() { *ended_on = std::this_thread::get_id(); }
  std::thread::id* ended_on;
};

TEST(RunApart, TheWorkHasAThreadOfItsOwnAndItsEndThatOfTheIoContext) {
  asio::io_context io;
  std::thread::id worked_on, done_on;
  RunApart(
      io, [&] { worked_on = std::this_thread::get_id(); },
      [&] { done_on = std::this_thread::get_id(); });
  io.run();  // has work until then
  EXPECT_NE(worked_on, std::thread::id());
  EXPECT_NE(worked_on, std::this_thread::get_id());
  EXPECT_EQ(done_on, std::this_thread::get_id());
}

TEST(RunApart, TheIoContextGoesOnMeanwhile) {
  asio::io_context io;
  std::promise<void> go_on;
  bool done = false;
  RunApart(
      io, [&] { go_on.get_future().wait(); }, [&] { done = true; });
  EXPECT_EQ(io.poll(), 0u);
  EXPECT_FALSE(io.stopped()) << "it has work";
  go_on.set_value();
  io.run();
  EXPECT_TRUE(done);
}

TEST(RunApart, WhatTheWorkHoldsEndsOnTheThreadOfTheIoContext) {
  asio::io_context io;
  std::thread::id work_ended_on, done_ended_on;
  RunApart(
      io, [held = std::make_shared<Trace>(&work_ended_on)] {},
      [held = std::make_shared<Trace>(&done_ended_on)] {});
  io.run();
  EXPECT_EQ(work_ended_on, std::this_thread::get_id());
  EXPECT_EQ(done_ended_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace snakepit
