#include "src/cli/console.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <string>

namespace snakepit {
namespace {

std::string Shown(ConsoleStyle style, const std::function<void(Console&)>& show) {
  std::string text;
  Console console(style, [&text](std::string_view piece) { text += piece; });
  show(console);
  return text;
}

void ShowEverything(Console& console) {
  console.Title("Title");
  console.Section("stdio", "frames");
  console.Step("ping", "a call");
  console.Progress("1 of 2");
  console.Detail("seen");
  console.Held("fast");
  console.DidNotHold("slow");
  console.Table({{"", "a", "bb"}, {"row", "100", "2"}});
}

TEST(Console, LinesArePlainWithoutATerminal) {
  const std::string text = Shown({}, ShowEverything);
  EXPECT_EQ(text.find('\033'), std::string::npos) << text;
  EXPECT_EQ(text.find('\r'), std::string::npos) << text;
  EXPECT_EQ(text.find("1 of 2"), std::string::npos) << text;
  EXPECT_NE(text.find("  ping      a call\n"), std::string::npos) << text;
  EXPECT_NE(text.find("            ok  fast\n"), std::string::npos) << text;
  EXPECT_NE(text.find("            FAILED  slow\n"), std::string::npos) << text;
}

TEST(Console, ProgressIsErasedByTheNextLine) {
  const std::string text = Shown({.terminal = true}, [](Console& console) {
    console.Progress("1 of 2");
    console.Detail("seen");
  });
  EXPECT_EQ(text, "\r\033[K            1 of 2\r\033[K            seen\n");
}

TEST(Console, ColoursAreUsedOnlyOnRequest) {
  const auto show = [](Console& console) { console.Held("fast"); };
  EXPECT_EQ(Shown({.terminal = true}, show).find('\033'), std::string::npos);
  EXPECT_NE(Shown({.terminal = true, .colour = true}, show).find("\033[32mok\033[0m"),
            std::string::npos);
}

TEST(Console, ColumnsOfATableAreAligned) {
  const std::string text = Shown({}, [](Console& console) {
    console.Table({{"", "a", "bb"}, {"row", "100", "2"}});
  });
  EXPECT_EQ(text,
            "          a   bb\n"
            "  --------------\n"
            "  row   100    2\n");
}

TEST(ConsoleStyle, APipeIsNoTerminal) {
  int fds[2];
  ASSERT_EQ(pipe(fds), 0);
  EXPECT_FALSE(ConsoleStyle::Of(fds[1]).terminal);
  EXPECT_FALSE(ConsoleStyle::Of(fds[1]).colour);
  close(fds[0]);
  close(fds[1]);
}

}  // namespace
}  // namespace snakepit
