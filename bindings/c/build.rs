//! Gives the shared library the name under which programs find it. It ends with the ABI's version.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("linux" | "android") => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libocelli.so.1"),
        Ok("macos") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libocelli.1.dylib");
        }
        _ => {}
    }
}
