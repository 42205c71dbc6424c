/*
 * A preloaded ptrace for user-mode-linux.
 *
 * User-mode kernels before 6.13 keep 2,696 octets of extended register state for each task. Processors with AMX have more, and current
 * host kernels refuse to set less than the whole (EFAULT), which the user-mode kernel answers with a panic. So what it sets
 * is laid over the whole state that the task has.
 */
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GET_REGISTERS = 0x4204, SET_REGISTERS = 0x4205, X86_XSTATE = 0x202 };

long ptrace(int request, ...)
{
	static char whole[1 << 16]; /* the kernel's stacks are too small for it; one thread traces */
	va_list arguments;
	va_start(arguments, request);
	long task = va_arg(arguments, long);
	void *address = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);

	if (request == SET_REGISTERS && address == (void *)X86_XSTATE) {
		struct iovec *given = data, full = { whole, sizeof whole };
		if (syscall(SYS_ptrace, GET_REGISTERS, task, address, &full) == 0 && given->iov_len < full.iov_len) {
			memcpy(whole, given->iov_base, given->iov_len);
			return syscall(SYS_ptrace, SET_REGISTERS, task, address, &full);
		}
	}
	if (request < PEEK_FIRST || request > PEEK_LAST)
		return syscall(SYS_ptrace, request, task, address, data);
	long word, result = syscall(SYS_ptrace, request, task, address, &word); /* the C library returns what was peeked */
	return result == 0 ? word : result;
}
