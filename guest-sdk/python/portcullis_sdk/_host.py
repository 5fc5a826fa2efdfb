"""Where the tool is: in a component, whose host has the interfaces, or in a test on the author's machine."""

import sys

IS_COMPONENT: bool = sys.platform == "wasi"
