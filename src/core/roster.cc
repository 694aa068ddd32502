#include "src/core/roster.h"

#include <algorithm>

namespace snakepit {

WorkerIndex Roster::Add(int id) {
  WorkerIndex index{0};
  while (index != board_.end_index() && board_[index].state != WorkerState::kGone) ++index;
  if (index == board_.end_index()) {
    workers_.Add({});
    return board_.Add({.id = id});
  }
  workers_[index] = {};
  board_[index] = {.id = id};
  return index;
}

Roster::Seat* Roster::SeatOf(WorkerIndex index) {
  const auto id = static_cast<size_t>(board_[index].id);
  return id < seats_.size() ? &seats_[id] : nullptr;
}

bool Roster::IsSeated(WorkerIndex index) {
  const Seat* seat = SeatOf(index);
  return seat != nullptr && seat->worker == index;
}

WorkerIndex Roster::Find(ProcessNumber process) const {
  WorkerIndex index{0};
  for (const WorkerView& worker : board_) {
    if (worker.process == process) {
      const bool lives =
          worker.state != WorkerState::kBackingOff && worker.state != WorkerState::kGone;
      return lives ? index : kNoWorker;
    }
    ++index;
  }
  return kNoWorker;
}

bool Roster::AllReady() const {
  return std::all_of(seats_.begin(), seats_.end(), [this](const Seat& seat) {
    return board_[seat.worker].state == WorkerState::kReady;
  });
}

bool Roster::AllServe() const {
  return std::all_of(seats_.begin(), seats_.end(),
                     [this](const Seat& seat) { return board_[seat.worker].Serves(); });
}

bool Roster::AnyServes() const {
  return std::any_of(board_.begin(), board_.end(),
                     [](const WorkerView& worker) { return worker.Serves(); });
}

bool Roster::AllGone() const {
  return std::all_of(board_.begin(), board_.end(),
                     [](const WorkerView& worker) { return worker.state == WorkerState::kGone; });
}

}  // namespace snakepit
