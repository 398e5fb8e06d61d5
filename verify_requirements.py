#!/usr/bin/env python3
"""Can this machine run Voxtral Voice, with which engines, and what is missing?

    python3 verify_requirements.py        # any Python 3, before or after the installation

Once installed this is `voxtral-voice verify`, whose arguments it takes. Exit code 1 when nothing can run.
"""

import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
SUPPORTED = ((3, 11), (3, 12))


def main(arguments):
    made = os.environ.get("VENV") or os.path.join(ROOT, ".venv")  # as setup.sh reads it
    for python in (os.path.join(made, "bin", "python"), sys.executable):
        if os.path.exists(python) and answers(python, "import voxtral_voice.cli"):
            return subprocess.call([python, "-m", "voxtral_voice.cli", "verify"] + arguments)
    if sys.version_info[:2] not in SUPPORTED:
        return with_another_python(arguments)
    unread = arguments + settings(os.environ)
    if unread:
        sys.stderr.write("nothing is installed yet, so these are not read: " + " ".join(unread) + "\n")
        sys.stderr.write("what follows leaves them out, and may not hold once they are read\n")
    sys.path.insert(0, os.path.join(ROOT, "src"))
    from voxtral_voice.models import requirements

    lines = requirements.before_installation()
    sys.stdout.write(requirements.report(lines) + "\n")
    return 0 if requirements.met(lines) else 1


def settings(environ):
    """What the environment says and the program would follow, were it installed. Values may be secret: names alone."""
    named = (name for name in environ if name == "VOXTRAL_CONFIG" or (name.startswith("VOXTRAL_") and "__" in name))
    return sorted(name for name in named if environ[name])


def with_another_python(arguments):
    """setup.sh looks for the same ones. A shim may exist and not work, so each is run."""
    for name in ("python3.12", "python3.11", os.path.expanduser("~/.local/bin/python3.12")):
        if answers(name, "import sys; sys.exit(sys.version_info[:2] not in " + repr(SUPPORTED) + ")"):
            return subprocess.call([name, os.path.abspath(__file__)] + arguments)
    version = ".".join(str(number) for number in sys.version_info[:3])
    sys.stdout.write("missing Python 3.11 or 3.12 (this is " + version + ")\n")
    sys.stdout.write("        -> `bash setup.sh serve` says which command brings one to this machine.\n")
    return 1


def answers(python, program):
    try:
        with open(os.devnull, "w") as nowhere:
            return subprocess.call([python, "-c", program], stdout=nowhere, stderr=nowhere, cwd=os.path.sep) == 0
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
