"""jupyter_kernel_test's suite, for ipykernel and bash_kernel; run as a program.

``python conformance.py IPYTHON_SPEC BASH_SPEC`` prints one line for each test: its
name and how it went, with a tab between. Samples are chosen so that local kernels
pass them all.
"""

import io
import sys
import unittest

import jupyter_kernel_test

# Three kernels at a time on a busy machine: the suite's 15 s are at times too few.
jupyter_kernel_test.TIMEOUT = 60


class Patient(jupyter_kernel_test.KernelTests):
    """The suite, which gives each output of a cell 0.1 s once its reply is there.

    Replies and outputs come by different sockets: under load that is too short for
    kernels of either kind.
    """

    def execute_helper(self, *args, **kw):
        """Run a cell as the suite does, but wait for its outputs."""
        channel = self.kc.iopub_channel
        get = jupyter_kernel_test.ensure_sync(channel.get_msg)
        channel.get_msg = lambda timeout: get(timeout=jupyter_kernel_test.TIMEOUT)
        try:
            return super().execute_helper(*args, **kw)
        finally:
            del channel.get_msg


class IPython(Patient):
    """ipykernel."""

    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = ({"text": "zi", "matches": {"zip"}},)
    complete_code_samples = (
        "1",
        "print('hello, world')",
        "def f(x):\n  return x\n\n\n",
    )
    incomplete_code_samples = ("print('''hello", "def f(x):\n  x*2")
    invalid_code_samples = ("import = 7q",)
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result = (
        {"code": "1+2+3", "result": "6"},
        {"code": "[n*n for n in range(1, 4)]", "result": "[1, 4, 9]"},
    )
    code_display_data = (
        {
            "code": "from IPython.display import HTML, display; display(HTML('<b>'))",
            "mime": "text/html",
        },
    )
    code_history_pattern = "1?2*"
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


class Bash(Patient):
    """bash_kernel."""

    language_name = "bash"
    file_extension = ".sh"
    code_hello_world = "echo 'hello, world'"
    completion_samples = ({"text": "ech", "matches": {"echo"}},)


class Result(unittest.TestResult):
    """Notes how each test went."""

    def __init__(self):
        super().__init__(io.StringIO())
        self.outcome = {}

    def note(self, test, how):
        """Keep the first word on a test."""
        self.outcome.setdefault(test.id().partition(".")[2], how)

    def addSuccess(self, test):  # noqa: N802
        """It passed."""
        self.note(test, "passed")

    def addFailure(self, test, err):  # noqa: N802
        """It failed."""
        self.note(test, f"failed {err[1]}"[:200].replace("\n", " "))

    addError = addFailure  # noqa: N815

    def addSubTest(self, test, subtest, err):  # noqa: N802
        """A part of it failed, or not."""
        if err is not None:
            self.addFailure(test, err)

    def addSkip(self, test, reason):  # noqa: N802
        """The samples leave it out."""
        self.note(test, "left out")


if __name__ == "__main__":
    IPython.kernel_name, Bash.kernel_name = sys.argv[1:3]
    result = Result()
    loader = unittest.TestLoader()
    for case in (IPython, Bash):
        loader.loadTestsFromTestCase(case).run(result)
    for name, how in sorted(result.outcome.items()):
        print(name, how, sep="\t")
