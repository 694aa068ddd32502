// What the messages and the statuses of gRPC say, in terms of a Connection. PROTOCOL.md 4 and 6.11.
// No I/O. Usable from any thread.
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
#include "src/value/decode_budget.h"

namespace snakepit {

// What the pool offers. PROTOCOL.md 6.11.2.
InfoRequest MakeInfoRequest(size_t max_message_bytes);

// What the worker's answer makes of it; `max_message_bytes` is the pool's own limit. PROTOCOL_ERROR
// for a version that was not offered, and for what is out of its range.
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

// What a status that is not OK means for the call, and for the worker. `is_loss`: the connection is
// lost, as GrpcLink says. PROTOCOL.md 4.4.5.
struct StatusMeaning {
  Error error;
  AfterCall after;
};
StatusMeaning Judge(const grpc::Status& status, bool is_loss, const CallRequest& request,
                    int version);

// Whether it is this side's deadline that ended the RPC.
bool IsDeadlineOf(const grpc::Status& status, SteadyTime deadline);

// What a status says of the health of a worker that was asked for it: WORKER_LOST; UNAVAILABLE: it
// is too busy to answer, or the like; else HANDLER_FAILED.
Error JudgeHealth(const grpc::Status& status, bool is_loss);

// gRPC has given the connection up for metadata over GrpcLink::kMaxMetadataBytes.
bool IsOverMetadataLimit(const grpc::Status& status);

// The worker refused the RPC, of which it has run nothing, as it has too many already.
bool IsRefusedAsBusy(const grpc::Status& status);

// "gRPC status INTERNAL: out of order".
std::string Describe(const grpc::Status& status);

}  // namespace snakepit

#endif  // SNAKEPIT_TRANSPORT_GRPC_MESSAGES_H_
