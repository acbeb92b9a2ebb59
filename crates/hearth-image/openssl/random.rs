//! A provider for OpenSSL 3 in Hearth's base images: every random byte comes from the kernel.
//!
//! OpenSSL keeps a generator of its own in the memory of each process, and seeds it again only after minutes. Clones of one snapshot
//! would go on from the same state, and make the same keys and tokens. The kernel's generator is seeded anew in each clone, before
//! anything runs there (docs/design/snapshots.md). So this provider's generator has no state: it asks `getrandom(2)` each time.
//!
//! `build.rs` compiles this file by itself, to a shared library that needs nothing beside the kernel. The numbers and shapes are those of
//! `openssl/core.h` and `openssl/core_dispatch.h`, which OpenSSL keeps for all of 3.x (provider(7), provider-rand(7)).

#![no_std]
#![allow(unsafe_code)]

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr;

/// `OSSL_DISPATCH`: a function of a provider or algorithm, with its number. The last of a list has zero.
#[repr(C)]
pub struct Dispatch {
    id: c_int,
    function: *const c_void,
}

// SAFETY: it is never written.
unsafe impl Sync for Dispatch {}

impl Dispatch {
    const END: Self = Self { id: 0, function: ptr::null() };

    const fn new(id: c_int, function: *const c_void) -> Self {
        Self { id, function }
    }
}

/// `OSSL_ALGORITHM`. The last of a list has no names.
#[repr(C)]
pub struct Algorithm {
    names: *const c_char,
    properties: *const c_char,
    functions: *const Dispatch,
    description: *const c_char,
}

// SAFETY: it is never written.
unsafe impl Sync for Algorithm {}

/// `OSSL_PARAM`: a value that is asked for. The last of a list has no key.
#[repr(C)]
pub struct Param {
    key: *const c_char,
    kind: c_uint,
    data: *mut c_void,
    size: usize,
    returned: usize,
}

// SAFETY: it is never written.
unsafe impl Sync for Param {}

/// `OSSL_PARAM_INTEGER`, `OSSL_PARAM_UNSIGNED_INTEGER` and `OSSL_PARAM_UTF8_PTR`.
const INTEGER: c_uint = 1;
const UNSIGNED: c_uint = 2;
const TEXT: c_uint = 6;

/// `EVP_RAND_STATE_READY`.
const READY: u64 = 1;

/// Bits of security, as the kernel's generator has.
const STRENGTH: u64 = 256;

/// Most bytes of one call, which OpenSSL cuts larger ones into. `getrandom` gives so many at most (getrandom(2)).
const MAX_REQUEST: u64 = 32 << 20;

/// The values that can be asked for: their names, kinds and sizes.
static GETTABLE: [Param; 4] = [
    param(c"state", INTEGER, 4),
    param(c"strength", UNSIGNED, 4),
    param(c"max_request", UNSIGNED, 8),
    END,
];

/// What the provider says of itself, to `openssl list -providers`.
static TELLABLE: [Param; 4] = [
    param(c"name", TEXT, 8),
    param(c"version", TEXT, 8),
    param(c"status", INTEGER, 4),
    END,
];

const END: Param = Param { key: ptr::null(), kind: 0, data: ptr::null_mut(), size: 0, returned: 0 };

const fn param(key: &'static CStr, kind: c_uint, size: usize) -> Param {
    // OSSL_PARAM_UNMODIFIED
    Param { key: key.as_ptr(), kind, data: ptr::null_mut(), size, returned: usize::MAX }
}

/// `OSSL_OP_RAND`.
const RANDOM: c_int = 5;

static ALGORITHMS: [Algorithm; 2] = [
    Algorithm {
        names: c"HEARTH-RANDOM".as_ptr(),
        properties: c"provider=hearth".as_ptr(),
        functions: GENERATOR.as_ptr(),
        description: c"getrandom(2)".as_ptr(),
    },
    Algorithm { names: ptr::null(), properties: ptr::null(), functions: ptr::null(), description: ptr::null() },
];

/// `OSSL_FUNC_RAND_*`.
static GENERATOR: [Dispatch; 13] = [
    Dispatch::new(1, new as *const c_void),
    Dispatch::new(2, nothing as *const c_void),
    Dispatch::new(3, instantiate as *const c_void),
    Dispatch::new(4, succeed as *const c_void),
    Dispatch::new(5, generate as *const c_void),
    Dispatch::new(6, reseed as *const c_void),
    Dispatch::new(8, succeed as *const c_void),
    Dispatch::new(9, succeed as *const c_void),
    Dispatch::new(10, nothing as *const c_void),
    Dispatch::new(12, gettable as *const c_void),
    Dispatch::new(15, get as *const c_void),
    Dispatch::new(17, succeed as *const c_void),
    Dispatch::END,
];

/// `OSSL_FUNC_PROVIDER_*`.
static PROVIDER: [Dispatch; 5] = [
    Dispatch::new(1024, nothing as *const c_void),
    Dispatch::new(1025, tellable as *const c_void),
    Dispatch::new(1026, tell as *const c_void),
    Dispatch::new(1027, query as *const c_void),
    Dispatch::END,
];

/// What OpenSSL calls after it has loaded the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn OSSL_provider_init(
    handle: *const c_void,
    _core: *const Dispatch,
    functions: *mut *const Dispatch,
    context: *mut *const c_void,
) -> c_int {
    // SAFETY: OpenSSL passes places for both.
    unsafe {
        *functions = PROVIDER.as_ptr();
        *context = handle;
    }
    1
}

unsafe extern "C" fn query(
    _context: *const c_void,
    operation: c_int,
    no_cache: *mut c_int,
) -> *const Algorithm {
    // SAFETY: OpenSSL passes a place.
    unsafe { *no_cache = 0 };
    if operation == RANDOM { ALGORITHMS.as_ptr() } else { ptr::null() }
}

unsafe extern "C" fn tellable(_context: *const c_void) -> *const Param {
    TELLABLE.as_ptr()
}

unsafe extern "C" fn tell(_context: *const c_void, params: *mut Param) -> c_int {
    // SAFETY: as of `answer`.
    unsafe {
        answer(params, |key| match key {
            b"name" => Some(c"Hearth's random numbers, from the kernel".as_ptr() as u64),
            b"version" => Some(c"1".as_ptr() as u64),
            b"status" => Some(1),
            _ => None,
        })
    }
}

/// A generator has no state, but its address must not be null.
unsafe extern "C" fn new(
    _provider: *const c_void,
    _parent: *const c_void,
    _parent_functions: *const Dispatch,
) -> *const c_void {
    GENERATOR.as_ptr().cast()
}

unsafe extern "C" fn nothing(_context: *const c_void) {}

unsafe extern "C" fn succeed(_context: *const c_void) -> c_int {
    1
}

unsafe extern "C" fn instantiate(
    _context: *const c_void,
    strength: c_uint,
    _resistance: c_int,
    _text: *const u8,
    _length: usize,
    _params: *const Param,
) -> c_int {
    c_int::from(u64::from(strength) <= STRENGTH)
}

unsafe extern "C" fn reseed(
    _context: *const c_void,
    _resistance: c_int,
    _entropy: *const u8,
    _entropy_length: usize,
    _text: *const u8,
    _text_length: usize,
) -> c_int {
    1
}

unsafe extern "C" fn generate(
    _context: *const c_void,
    mut out: *mut u8,
    mut length: usize,
    strength: c_uint,
    _resistance: c_int,
    _text: *const u8,
    _text_length: usize,
) -> c_int {
    if u64::from(strength) > STRENGTH {
        return 0;
    }
    while length > 0 {
        // SAFETY: OpenSSL passes so many bytes that may be written.
        let given = unsafe { getrandom(out, length) };
        const INTERRUPTED: isize = -4;
        match usize::try_from(given) {
            Ok(0) => return 0,
            Ok(given) => {
                // SAFETY: the kernel gives no more than was asked for.
                out = unsafe { out.add(given) };
                length -= given;
            }
            Err(_) if given == INTERRUPTED => {}
            Err(_) => return 0,
        }
    }
    1
}

unsafe fn getrandom(out: *mut u8, length: usize) -> isize {
    const GETRANDOM: isize = 318;
    let given: isize;
    // SAFETY: the kernel writes to these bytes alone. x86-64 has a `syscall` that changes these registers.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") GETRANDOM => given,
            in("rdi") out,
            in("rsi") length,
            in("rdx") 0,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    given
}

unsafe extern "C" fn gettable(_context: *const c_void, _provider: *const c_void) -> *const Param {
    GETTABLE.as_ptr()
}

unsafe extern "C" fn get(_context: *const c_void, params: *mut Param) -> c_int {
    // SAFETY: as of `answer`.
    unsafe {
        answer(params, |key| match key {
            b"state" => Some(READY),
            b"strength" => Some(STRENGTH),
            b"max_request" => Some(MAX_REQUEST),
            _ => None,
        })
    }
}

/// Writes the values that are known. Those of texts are addresses.
///
/// # Safety
///
/// `params` is null, or a list that ends with a null key, whose keys are strings, and whose places have the sizes that are said.
unsafe fn answer(mut params: *mut Param, value: impl Fn(&[u8]) -> Option<u64>) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        while !params.is_null() && !(*params).key.is_null() {
            let param = &mut *params;
            params = params.add(1);
            let Some(value) = value(CStr::from_ptr(param.key).to_bytes()) else {
                continue;
            };
            param.returned = match (param.data.is_null(), param.kind, param.size) {
                (true, _, _) => size_of::<u64>(),
                (false, TEXT, _) | (false, _, 8) => {
                    param.data.cast::<u64>().write_unaligned(value);
                    size_of::<u64>()
                }
                (false, _, 4) => {
                    param.data.cast::<u32>().write_unaligned(value as u32);
                    size_of::<u32>()
                }
                (false, _, _) => return 0,
            };
        }
    }
    1
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
