//! System calls that move bytes between a descriptor and guest memory without a copy in between.
//!
//! The only place where device code hands pointers into guest memory to the kernel. The guest may
//! change the memory during the call; the kernel is indifferent to that, and no Rust reference to
//! the memory ever exists.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::chain::Buffers;

/// Parts given to one call. The kernel's limit is 1024; what does not fit is left for the
/// next call.
const MAX_PARTS: usize = 256;

/// A list of memory parts, in order. Borrows all of them.
#[derive(Debug)]
pub(super) struct Vectors<'a> {
    parts: Vec<libc::iovec>,
    memory: PhantomData<&'a ()>,
}

impl<'a> Vectors<'a> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            parts: Vec::with_capacity(capacity),
            memory: PhantomData,
        }
    }

    /// Adds guest memory, readable and writable.
    pub(super) fn guest(&mut self, buffers: &'a Buffers<'_>) {
        for slice in buffers.slices() {
            self.push(slice.ptr_guard_mut().as_ptr(), slice.len());
        }
    }

    fn push(&mut self, start: *mut u8, len: usize) {
        if self.parts.len() < MAX_PARTS && len > 0 {
            self.parts.push(libc::iovec {
                iov_base: start.cast(),
                iov_len: len,
            });
        }
    }

    /// Writes `header` and then the parts in one call: one message if the descriptor has messages.
    pub(super) fn write(mut self, fd: BorrowedFd<'_>, header: &[u8]) -> io::Result<usize> {
        // The cast to a mutable pointer is what the system call's type wants; writev only reads.
        let start = header.as_ptr().cast_mut().cast();
        self.parts.insert(
            0,
            libc::iovec {
                iov_base: start,
                iov_len: header.len(),
            },
        );
        let count = self.count();
        // SAFETY: every part points into memory that `header` or `self` borrows: mapped for the
        // length of the call, and only read by it.
        check(unsafe { libc::writev(fd.as_raw_fd(), self.parts.as_ptr(), count) })
    }

    /// Reads into the parts.
    pub(super) fn read(self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        // SAFETY: every part is guest memory that `self` borrows: mapped for the length of the
        // call, and free to be written at any time.
        check(unsafe { libc::readv(fd.as_raw_fd(), self.parts.as_ptr(), self.count()) })
    }

    /// Sends the parts to a socket, without SIGPIPE.
    pub(super) fn send(mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let message = self.message();
        // SAFETY: as for `write`; `message` points to `self.parts`, which outlives the call.
        check(unsafe { libc::sendmsg(fd.as_raw_fd(), &message, libc::MSG_NOSIGNAL) })
    }

    /// Receives from a socket into the parts.
    pub(super) fn receive(mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        let mut message = self.message();
        // SAFETY: as for `read`; `message` points to `self.parts`, which outlives the call.
        check(unsafe { libc::recvmsg(fd.as_raw_fd(), &mut message, 0) })
    }

    fn message(&mut self) -> libc::msghdr {
        // SAFETY: msghdr is plain data for which all-zero means "no address, no control data".
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.parts.as_mut_ptr();
        message.msg_iovlen = self.parts.len();
        message
    }

    fn count(&self) -> libc::c_int {
        // At most MAX_PARTS and a header.
        self.parts.len() as libc::c_int
    }
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
