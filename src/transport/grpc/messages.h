// The messages and statuses of gRPC, in terms of a Connection. PROTOCOL.md 4 and 6.11. No I/O. From
// any thread.
#ifndef SNAKEPIT_TRANSPORT_GRPC_MESSAGES_H_
#define SNAKEPIT_TRANSPORT_GRPC_MESSAGES_H_

#include <grpcpp/support/status.h>

#include <cstdint>
#include <optional>
#include <string>

#include "proto/snakepit.pb.h"
#include "snakepit/error.h"
#include "snakepit/value.h"
#include "src/transport/connection.h"
#include "src/transport/grpc/service.h"
#include "src/value/decode_budget.h"

namespace snakepit {

// The pool's offer. PROTOCOL.md 6.11.2.
InfoRequest MakeInfoRequest(size_t max_message_bytes);

// The agreement by the worker's answer; `max_message_bytes` is the pool's own limit. PROTOCOL_ERROR
// for a version that was not offered, and for a number that is out of its range.
Result<Agreement> AgreementFrom(const InfoResponse& response, size_t max_message_bytes);

// Fills a message of a call in for a worker of that version. INVALID_ARGUMENT for arguments that
// cannot be carried; MESSAGE_TOO_LARGE, in version 2, for a message over `max_bytes`.
Result<void> Fill(const CallRequest& request, int version, std::string request_id, size_t max_bytes,
                  ExecuteRequest* message);
Result<void> Fill(const CallRequest& request, int version, std::string request_id, size_t max_bytes,
                  SessionRequest* message);

// The result of a call, or its in-band error; PROTOCOL_ERROR for a response that cannot be right,
// and the errors of DecodeBudget for one that goes over the limits.
Result<Value> DecodeResponse(const ExecuteResponse& response, int version,
                             const DecodeLimits& limits);

// The chunk of a message of a stream, after `chunks` of them; nothing when it holds none. Fails
// with the error that ends the stream, if it has one, and likewise.
Result<std::optional<Value>> DecodeChunk(const StreamResponse& response, int64_t chunks,
                                         int version, const DecodeLimits& limits);

// The meaning of a status that is not OK, for the call and for the worker. `is_loss`: GrpcLink says
// that the connection is lost. PROTOCOL.md 4.4.5.
struct StatusMeaning {
  Error error;
  AfterCall after;
};
StatusMeaning Judge(const grpc::Status& status, bool is_loss, const CallRequest& request,
                    int version);

// True if this side's deadline ended the RPC.
bool IsDeadlineOf(const grpc::Status& status, SteadyTime deadline);

// The error of a health check that ended with that status. WORKER_LOST; UNAVAILABLE: the worker is
// too busy to answer, or the like; else HANDLER_FAILED.
Error JudgeHealth(const grpc::Status& status, bool is_loss);

// The answer to Health of a worker of that version. One of version 1 does not say how many calls it
// has: `calls` are the pool's.
Result<WorkerHealth> HealthFrom(const GrpcReply<HealthResponse>& reply, int version, int calls);

// gRPC has given the connection up for metadata over GrpcLink::kMaxMetadataBytes.
bool IsOverMetadataLimit(const grpc::Status& status);

// The worker refused the RPC, of which it has run nothing, as it has too many already.
bool IsRefusedAsBusy(const grpc::Status& status);

// "gRPC status INTERNAL: out of order".
std::string Describe(const grpc::Status& status);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_MESSAGES_H_
