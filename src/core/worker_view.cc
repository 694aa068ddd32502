#include "src/core/worker_view.h"

namespace snakepit {

bool WorkerView::HasSpareCapacity() const { return in_flight + check_is_call < capacity; }

bool WorkerView::HasRoom() const { return state == WorkerState::kReady && HasSpareCapacity(); }

}  // namespace snakepit
