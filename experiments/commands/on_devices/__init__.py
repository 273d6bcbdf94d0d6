"""Commands that compare devices, or try one."""
