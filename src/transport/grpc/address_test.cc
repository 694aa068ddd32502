#include "src/transport/grpc/address.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace snakepit {
namespace {

using ::testing::HasSubstr;

TEST(AnnouncedAddress, KnowsTheLinesOfWorkers) {
  EXPECT_EQ(AnnouncedAddress("GRPC_READY:50051").value(), (GrpcAddress{.port = 50051}));
  EXPECT_EQ(AnnouncedAddress("GRPC_SERVER_READY_ON_PORT=50051").value(),
            (GrpcAddress{.port = 50051}));
  EXPECT_EQ(AnnouncedAddress("GRPC_READY:/run/w.sock").value(),
            (GrpcAddress{.socket_path = "/run/w.sock"}));
  const std::string longest = "/" + std::string(106, 'x');
  EXPECT_EQ(AnnouncedAddress("GRPC_READY:" + longest).value(),
            (GrpcAddress{.socket_path = longest}));
}

TEST(AnnouncedAddress, TakesNothingElseForOne) {
  for (const char* line : {"", "ready", "GRPC_READY:", "GRPC_READY:0", "GRPC_READY:65536",
                           "GRPC_READY:50051x", "GRPC_READY:w.sock", "x GRPC_READY:50051"}) {
    EXPECT_EQ(AnnouncedAddress(line), std::nullopt) << line;
  }
}

TEST(AnnouncedAddress, NamesAPathThatNoSocketCanHave) {
  const std::string paths[] = {"/" + std::string(107, 'x'), "/" + std::string(1'000'000, 'x'),
                               std::string("/a\0b", 4)};
  for (const std::string& path : paths) {
    const auto announced = AnnouncedAddress("GRPC_READY:" + path);
    ASSERT_TRUE(announced);
    ASSERT_FALSE(*announced);
    EXPECT_EQ(announced->error().code, ErrorCode::kStartFailed);
    EXPECT_THAT(announced->error().message, HasSubstr("at most 107 bytes"));
    EXPECT_LT(announced->error().message.size(), 400u);
  }
}

TEST(BeginConnect, SaysWhyItCannot) {
  for (const GrpcAddress& address : {GrpcAddress{.socket_path = "/no/such/socket"},
                                     GrpcAddress{.socket_path = "/" + std::string(500, 'x')}}) {
    const auto connected = BeginConnect(address);
    ASSERT_FALSE(connected);
    EXPECT_THAT(connected.error().message, HasSubstr(address.Text()));
  }
}

}  // namespace
}  // namespace snakepit
