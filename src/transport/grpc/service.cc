#include "src/transport/grpc/service.h"

#include <google/protobuf/unknown_field_set.h>

#include <vector>

#include "src/base/quote.h"
#include "src/value/utf8.h"

namespace snakepit {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;
using RpcType = grpc::internal::RpcMethod::RpcType;

std::string Shown(std::string_view text) { return '"' + Excerpt(text, kMostSharedTextBytes) + '"'; }

// Empty: nothing. `path` leads to the message, and ends with a dot unless it is empty.
std::string FaultIn(const google::protobuf::Descriptor& type, std::string_view bytes,
                    const std::string& path) {
  UnknownFieldSet fields;
  if (!fields.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    const std::string where = path.empty() ? "" : " in `" + path.substr(0, path.size() - 1) + "`";
    return "bytes that are no protobuf message" + where + ": " + QuoteBytes(bytes);
  }
  for (int i = 0; i < fields.field_count(); ++i) {
    const FieldDescriptor* field = type.FindFieldByNumber(fields.field(i).number());
    if (field == nullptr || fields.field(i).type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    const std::string& content = fields.field(i).length_delimited();
    std::string fault;
    if (field->type() == FieldDescriptor::TYPE_STRING && !IsUtf8(content)) {
      fault = "text that is not UTF-8 in `" + path + field->name() + "`: " + Shown(content);
    } else if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      fault = FaultIn(*field->message_type(), content, path + field->name() + ".");
    }
    if (!fault.empty()) return fault;
  }
  return {};
}

}  // namespace

std::string WhyUnreadable(const google::protobuf::Descriptor& type, std::string_view bytes) {
  std::string fault = FaultIn(type, bytes, "");
  return fault.empty() ? "bytes that are no " + type.name() + ": " + QuoteBytes(bytes) : fault;
}

std::string WhyUnreadable(const google::protobuf::Descriptor& type,
                          const grpc::ByteBuffer& buffer) {
  grpc::Slice bytes;
  if (!buffer.DumpToSingleSlice(&bytes).ok()) return "bytes that gRPC cannot unpack";
  return WhyUnreadable(type, {reinterpret_cast<const char*>(bytes.begin()), bytes.size()});
}

GrpcStub::GrpcStub(const std::shared_ptr<grpc::ChannelInterface>& channel)
    : execute("/snakepit.SnakepitBridge/Execute", RpcType::NORMAL_RPC, channel),
      execute_stream("/snakepit.SnakepitBridge/ExecuteStream", RpcType::SERVER_STREAMING, channel),
      execute_in_session("/snakepit.SnakepitBridge/ExecuteInSession", RpcType::NORMAL_RPC, channel),
      execute_in_session_stream("/snakepit.SnakepitBridge/ExecuteInSessionStream",
                                RpcType::SERVER_STREAMING, channel),
      health("/snakepit.SnakepitBridge/Health", RpcType::NORMAL_RPC, channel),
      get_info("/snakepit.SnakepitBridge/GetInfo", RpcType::NORMAL_RPC, channel) {}

}  // namespace snakepit
