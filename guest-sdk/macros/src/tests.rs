//! What the macro says of functions that can't be tools.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::expand;

/// All that is told of a function.
#[track_caller]
fn told(options: TokenStream, item: TokenStream) -> Vec<String> {
    match expand(options, item) {
        Ok(expanded) => panic!("no fault: {expanded}"),
        Err(error) => error.into_iter().map(|error| error.to_string()).collect(),
    }
}

#[track_caller]
fn only(item: TokenStream) -> String {
    let mut told = told(TokenStream::new(), item);
    assert_eq!(told.len(), 1, "{told:?}");
    told.remove(0)
}

fn expanded(options: TokenStream, item: TokenStream) -> String {
    expand(options, item).expect("a tool").to_string()
}

#[test]
fn what_can_not_be_a_tool_is_told() {
    for (item, reason) in [
        (
            quote!(
                /** D */
                async fn f() {}
            ),
            "not `async`",
        ),
        (
            quote!(
                /** D */
                unsafe fn f() {}
            ),
            "not `unsafe`",
        ),
        (
            quote!(
                /** D */
                extern "C" fn f() {}
            ),
            "plain function",
        ),
        (
            quote!(
                /** D */
                fn f<T: Into<String>>(text: T) {}
            ),
            "not generic",
        ),
        (
            quote!(
                /** D */
                fn f<'a>(text: &str) {}
            ),
            "not generic",
        ),
        (
            quote!(
                /** D */
                fn f()
                where
                    u8: Copy,
                {
                }
            ),
            "not generic",
        ),
        (
            quote!(
                /** D */
                fn f(&self) {}
            ),
            "no `self`",
        ),
        (
            quote!(
                /** D */
                fn f(self: Box<Self>) {}
            ),
            "no `self`",
        ),
        (
            quote!(
                /** D */
                fn f((a, b): (u8, u8)) {}
            ),
            "plain name",
        ),
        (
            quote!(
                /** D */
                fn f(_: u8) {}
            ),
            "plain name",
        ),
        (
            quote!(
                /** D */
                fn f(ref text: String) {}
            ),
            "plain name",
        ),
        (
            quote!(
                /** D */
                fn f(text: impl Into<String>) {}
            ),
            "type of its own",
        ),
        (
            quote!(
                /** D */
                fn f(text: &String) {}
            ),
            "`&str` and `&[T]` only",
        ),
        (
            quote!(
                /** D */
                fn f(text: &mut str) {}
            ),
            "`&str` and `&[T]` only",
        ),
        (
            quote!(
                /** D */
                fn f(text: &'static str) {}
            ),
            "leave the lifetime out",
        ),
        (
            quote!(
                /** D */
                fn f(#[serde(flatten)] more: More) {}
            ),
            "`flatten`",
        ),
        (
            quote!(
                /** D */
                fn f(#[cfg(unix)] more: u8) {}
            ),
            "conditional",
        ),
        (
            quote!(
                /** D */
                fn f() -> impl Iterator {}
            ),
            "type of its own",
        ),
        (
            quote!(
                /** D */
                fn f(text: &str) -> &str {}
            ),
            "owned value",
        ),
        (
            quote!(
                fn f() {}
            ),
            "needs a doc comment",
        ),
        (
            quote!(
                #[doc(hidden)]
                fn f() {}
            ),
            "needs a doc comment",
        ),
        (
            quote!(
                #[doc = include_str!("f.md")]
                fn f() {}
            ),
            "written out",
        ),
        (
            quote!(
                /** D */
                struct F;
            ),
            "stands on a plain function",
        ),
        (
            quote!(
                /** D */
                mod f {}
            ),
            "stands on a plain function",
        ),
        (
            quote!(
                /** D */
                fn f();
            ),
            "with a body",
        ),
        // A type is missing.
        (quote!(/** D */ fn f(a) {}), "expected"),
    ] {
        let told = only(item.clone());
        assert!(told.contains(reason), "{item}: {told}");
    }
    let long = "x".repeat(4097);
    assert!(only(quote!(#[doc = #long] fn f() {})).contains("4097 bytes, of which the host keeps 4096"));
}

#[test]
fn all_faults_are_told_at_once() {
    let item = quote!(
        async fn _f((a, b): (u8, u8), c: &String) -> &str {}
    );
    let told = told(quote!(read_only), item);
    assert_eq!(told.len(), 7, "{told:#?}");
}

#[test]
fn names_are_those_that_the_host_takes() {
    let item = quote!(
        /// D
        fn f() {}
    );
    for bad in ["", "-a", "_a", "a b", "a.b", "ä", &"x".repeat(65)] {
        let told = told(quote!(name = #bad), item.clone());
        assert!(told.len() == 1 && told[0].contains("the host refuses a tool named"), "{bad}: {told:?}");
    }
    for good in ["a", "9-Lives_x", &"x".repeat(64)] {
        assert!(
            expanded(quote!(name = #good), item.clone())
                .contains(&format!("NAME : & 'static str = {good:?}"))
        );
    }
    for named in [
        quote!(
            fn _f() {}
        ),
        quote!(
            fn naïve() {}
        ),
    ] {
        let item = quote!(
            /// D
            #named
        );
        assert!(only(item).contains("names a tool otherwise"));
    }
    let raw = quote!(
        /// D
        fn r#move() {}
    );
    assert!(expanded(TokenStream::new(), raw).contains("NAME : & 'static str = \"move\""));
}

#[test]
fn options_are_known_or_refused() {
    let item = quote!(
        /// D
        fn f() {}
    );
    for (options, reason) in [
        (quote!(read_only), "the one option is `name"),
        (quote!(title = "x"), "the one option is `name"),
        (quote!(name = "a", name = "b"), "twice"),
        (quote!(name), "expected `=`"),
        (quote!(name = 7), "expected string literal"),
        (quote!("a"), "expected"),
    ] {
        let told = told(options.clone(), item.clone());
        assert!(told.len() == 1 && told[0].contains(reason), "{options}: {told:?}");
    }
}

#[test]
fn descriptions_keep_their_lines_and_lose_their_margin() {
    let item = quote!(
        /// One.
        ///
        /// - two
        ///   more
        #[doc(alias = "x")]
        #[doc = " three \n four"]
        fn f() {}
    );
    let expected = format!("DESCRIPTION : & 'static str = {:?}", "One.\n\n- two\n  more\nthree\nfour");
    let expanded = expanded(TokenStream::new(), item);
    assert!(expanded.contains(&expected), "{expanded}");
}

#[test]
fn what_describes_an_argument_moves_to_the_schema() {
    let item = quote!(
        /// D
        fn f(
            /// The text.
            #[serde(default)]
            #[expect(unused_mut, reason = "x")]
            mut text: String,
            items: &[u8],
        ) {
        }
    );
    let expanded = expanded(TokenStream::new(), item);
    let (function, tool) = expanded.split_once("enum f").expect("the function comes first");
    assert!(function.contains("# [expect (unused_mut , reason = \"x\")] mut text : String , items : & [u8]"));
    assert!(!function.contains("serde") && !function.contains("The text."), "{function}");
    assert!(tool.contains(" The text.\"] # [serde (default)] text : String"), "{tool}");
    assert!(tool.contains("items : :: portcullis_sdk :: __private :: Vec < u8 >"), "{tool}");
    assert!(tool.contains("f (__portcullis_arguments . text , & __portcullis_arguments . items)"), "{tool}");
}
