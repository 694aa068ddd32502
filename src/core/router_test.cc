#include "src/core/router.h"

#include <gtest/gtest.h>

namespace snakepit {
namespace {

class RouterTest : public testing::Test {
 protected:
  // Two workers, and a session that is bound to the first.
  RouterTest() {
    for (ProcessNumber process : {1, 2}) {
      board_.Add({.state = WorkerState::kReady, .process = process});
    }
    session_.worker = kOwner;
    session_.process_number = 1;
  }

  Route RouteOf(Affinity affinity, const Router::Place& place = {}) const {
    return Router(affinity, board_).RouteOf(&session_, place);
  }
  void ExpectRoute(const Route& route, Route::Kind kind, WorkerIndex worker) const {
    EXPECT_EQ(static_cast<int>(route.kind), static_cast<int>(kind));
    EXPECT_EQ(route.worker, worker);
  }

  static constexpr WorkerIndex kOwner{0}, kOther{1};
  WorkerBoard board_;
  SessionTable::Session session_;
};

TEST_F(RouterTest, TheSmallestShareOfTheCapacityWins) {
  board_[kOwner].capacity = 6;
  board_[kOwner].in_flight = 2;
  board_[kOther].capacity = 2;
  board_[kOther].in_flight = 1;
  ExpectRoute(Router(Affinity::kHint, board_).RouteOf(nullptr, {}), Route::Kind::kDispatch, kOwner);
}

TEST_F(RouterTest, WithoutRoomTheCallIsQueued) {
  board_[kOwner].in_flight = board_[kOther].in_flight = 1;
  ExpectRoute(Router(Affinity::kHint, board_).RouteOf(nullptr, {}), Route::Kind::kQueue, kNoWorker);
}

TEST_F(RouterTest, ABusyOwnerDecidesByTheAffinity) {
  board_[kOwner].in_flight = 1;
  ExpectRoute(RouteOf(Affinity::kHint), Route::Kind::kDispatch, kOther);
  ExpectRoute(RouteOf(Affinity::kHint, {.is_first_of_session = true}), Route::Kind::kWait, kOwner);
  ExpectRoute(RouteOf(Affinity::kStrictQueue), Route::Kind::kWait, kOwner);
  ExpectRoute(RouteOf(Affinity::kStrictFailFast), Route::Kind::kSessionBusy, kNoWorker);
}

TEST_F(RouterTest, ACheckOfALegacyWorkerDoesNotMakeItBusy) {
  board_[kOwner].check_is_call = true;
  ExpectRoute(RouteOf(Affinity::kStrictFailFast), Route::Kind::kWait, kOwner);
}

TEST_F(RouterTest, AnotherProcessOfTheOwnerHasNotTheState) {
  board_[kOwner].process = 3;
  ExpectRoute(RouteOf(Affinity::kHint), Route::Kind::kDispatch, kOwner);
  ExpectRoute(RouteOf(Affinity::kStrictQueue), Route::Kind::kSessionLost, kNoWorker);
}

TEST_F(RouterTest, ADrainingOwnerServesOnlyItsOwnQueue) {
  board_[kOwner].state = WorkerState::kDraining;
  const Router::Place in_its_queue{.waits_for = kOwner};
  ExpectRoute(RouteOf(Affinity::kStrictQueue, in_its_queue), Route::Kind::kDispatch, kOwner);
  ExpectRoute(RouteOf(Affinity::kStrictQueue), Route::Kind::kSessionLost, kNoWorker);
  Router stopped(Affinity::kStrictQueue, board_);
  stopped.Stop();
  ExpectRoute(stopped.RouteOf(&session_, in_its_queue), Route::Kind::kSessionLost, kNoWorker);
}

}  // namespace
}  // namespace snakepit
