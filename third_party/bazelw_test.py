"""The script `bazelw`: the packages that it installs, and that it removes none.

A copy of it runs with programs of this test on its PATH: nothing is installed here.
"""

import os
import shutil
import subprocess
import tempfile
import unittest

BAZELW = os.path.abspath("bazelw")
REAL_TOOLS = ("awk", "cat", "dirname", "env", "mktemp", "rm", "sed", "sh", "tail")
LIMIT_S = 60

# apt-get's output when a package is in the way, with --no-remove and without it.
CONFLICT = """\
Reading package lists...
The following packages will be REMOVED:
  libmsgpack-dev liblong-dev
  libother-dev
The following NEW packages will be installed:
  libmsgpack-cxx-dev
0 upgraded, 1 newly installed, 3 to remove and 0 not upgraded.
"""

FAKE_APT_GET = """\
#!/bin/sh
echo "$LC_ALL $*" >>"$FAKES/apt-get.log"
test "$1" = install || exit 0
cat "$FAKES/says"
case " $* " in *" --no-remove "*) ;; *) echo removed >"$FAKES/removed"; exit 0 ;; esac
if grep -q REMOVED "$FAKES/says"; then
  echo "E: Packages need to be removed but remove is disabled."
  exit 100
fi
exit "$(cat "$FAKES/status")"
"""


def is_debian_12():
    with open("/etc/os-release", encoding="utf-8") as file:
        lines = file.read().splitlines()
    return "ID=debian" in lines and 'VERSION_ID="12"' in lines


@unittest.skipUnless(is_debian_12(), "bazelw installs on Debian 12 alone")
class BazelwTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=os.environ["TEST_TMPDIR"])
        self.addCleanup(shutil.rmtree, self.folder)
        os.mkdir(self.path("third_party"))
        os.mkdir(self.path("bin"))
        shutil.copy(BAZELW, self.path("bazelw"))
        packages = "# Libraries\nlibmsgpack-cxx-dev\nlibfmt-dev\n"
        self.write("third_party/debian-packages.txt", packages)
        for tool in (*REAL_TOOLS, "grep"):
            os.symlink(shutil.which(tool), self.path("bin/" + tool))
        self.program("apt-get", FAKE_APT_GET)
        self.program("bazel", '#!/bin/sh\necho "bazel $*"\n')
        self.has("libfmt-dev")
        self.is_user(0)
        self.apt_get_says("")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def program(self, name, text):
        self.write("bin/" + name, text)
        os.chmod(self.path("bin/" + name), 0o755)

    def has(self, *packages):
        lines = "".join(f"echo installed {package}\n" for package in packages)
        self.program("dpkg-query", "#!/bin/sh\n" + lines)

    def is_user(self, number):
        self.program("id", f"#!/bin/sh\necho {number}\n")

    def apt_get_says(self, text, status=0):
        self.write("says", text)
        self.write("status", str(status))

    def run_bazelw(self):
        """(exit code, stdout, stderr)"""
        done = subprocess.run(
            [self.path("bazelw"), "test", "//..."],
            env={"PATH": self.path("bin"), "FAKES": self.folder, "TMPDIR": self.folder},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def apt_get_calls(self):
        if not os.path.exists(self.path("apt-get.log")):
            return []
        with open(self.path("apt-get.log"), encoding="utf-8") as file:
            return file.read().splitlines()

    def test_what_is_there_is_not_installed(self):
        self.has("libfmt-dev", "libmsgpack-cxx-dev")
        self.assertEqual(self.run_bazelw(), (0, "bazel test //...\n", ""))
        self.assertEqual(self.apt_get_calls(), [])

    def test_what_is_missing_is_installed(self):
        code, out, err = self.run_bazelw()
        self.assertEqual((code, out), (0, "bazel test //...\n"), err)
        update, install = self.apt_get_calls()
        self.assertEqual(update, "C update")
        self.assertTrue(install.endswith(" libmsgpack-cxx-dev"), install)

    def test_a_package_in_the_way_is_named_and_stays(self):
        self.apt_get_says(CONFLICT)
        code, out, err = self.run_bazelw()
        self.assertFalse(os.path.exists(self.path("removed")), "a package was removed")
        self.assertEqual((code, out), (1, ""))
        self.assertIn("would have to remove libmsgpack-dev liblong-dev libother-dev,", err)
        self.assertIn("A libmsgpack-dev older than Debian 12's has the files of", err)
        self.assertIn("\n  sudo apt-get remove libmsgpack-dev liblong-dev libother-dev\n", err)

    def test_another_failure_is_shown_as_it_is(self):
        self.apt_get_says("E: Unable to locate package libmsgpack-cxx-dev\n", status=100)
        code, out, err = self.run_bazelw()
        self.assertEqual((code, out), (1, ""))
        self.assertIn("E: Unable to locate package libmsgpack-cxx-dev\n", err)
        self.assertIn("by hand it is: apt-get update && apt-get install", err)
        self.assertNotIn("remove it yourself", err)

    def test_the_command_by_hand_removes_nothing_either(self):
        self.is_user(1000)  # and there is no sudo
        code, out, err = self.run_bazelw()
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, "sudo sh -c '.* install --yes --no-remove .*'")
        self.assertEqual(self.apt_get_calls(), [])


if __name__ == "__main__":
    unittest.main()
