# SPDX-License-Identifier: Apache-2.0
"""`python -m uspnet`."""

from uspnet.cli import main

if __name__ == "__main__":
    main()
