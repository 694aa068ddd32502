#include "src/adapters/transport_kind.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>
#include <vector>

namespace snakepit {
namespace {

TEST(TransportKindTest, FlagsAreReadAsTheyAreWritten) {
  for (const TransportKind transport : {TransportKind::kStdio, TransportKind::kGrpc}) {
    EXPECT_EQ(TransportFromFlag(TransportFlag(transport)), transport);
  }
}

TEST(TransportKindTest, ServesGrpcOnASocket) {
  Adapter adapter{.argv = {"worker"}};
  ServeOver(TransportKind::kGrpc, adapter);
  EXPECT_EQ(adapter.argv,
            (std::vector<std::string>{"worker", "--transport", "grpc", "--socket", "{socket}"}));
  EXPECT_TRUE(std::holds_alternative<GrpcTransport>(adapter.transport));
}

TEST(TransportKindTest, ServesStdioWithTheCodecsThatAreOffered) {
  Adapter adapter{.argv = {"worker"}};
  ServeOver(TransportKind::kStdio, adapter, {Codec::kJson});
  EXPECT_EQ(adapter.argv, (std::vector<std::string>{"worker", "--transport", "stdio"}));
  EXPECT_EQ(std::get<StdioTransport>(adapter.transport).codecs, std::vector<Codec>{Codec::kJson});
}

}  // namespace
}  // namespace snakepit
