//! A C library that is looked up when the program starts, because this project builds without its headers.

#![allow(unsafe_code)] // Foreign functions, found by their names.

use std::io;

use libloading::Library;

/// Loads the first of the libraries that is there, for as long as the process runs.
pub(crate) fn load(names: &[&str]) -> io::Result<&'static Library> {
    // SAFETY: what the examples load may be loaded at any time, by any thread.
    let library = names.iter().find_map(|&name| unsafe { Library::new(name) }.ok());
    let missing =
        || io::Error::new(io::ErrorKind::NotFound, format!("{} is not installed", names[0]));
    Ok(Box::leak(Box::new(library.ok_or_else(missing)?)))
}

/// Finds a function by its name.
///
/// # Safety
///
/// `F` is the type of a pointer to that function.
pub(crate) unsafe fn find<F: Copy>(library: &'static Library, name: &str) -> io::Result<F> {
    // SAFETY: the caller says so.
    let function = unsafe { library.get::<F>(name.as_bytes()) };
    let missing =
        |_| io::Error::new(io::ErrorKind::Unsupported, format!("the library lacks {name}"));
    function.map(|function| *function).map_err(missing)
}

/// Declares a type with the functions of a library, and its function `load`.
macro_rules! functions {
    ($library:ident: $names:expr; $($name:ident = $symbol:literal: $type:ty;)*) => {
        /// The functions of the library.
        pub(crate) struct $library {
            $(pub(crate) $name: $type,)*
        }

        impl $library {
            /// Loads the library for as long as the process runs.
            pub(crate) fn load() -> std::io::Result<Self> {
                let library = $crate::library::load($names)?;
                // SAFETY: the types are those of the library's header.
                Ok(Self { $($name: unsafe { $crate::library::find(library, $symbol)? },)* })
            }
        }
    };
}

pub(crate) use functions;
