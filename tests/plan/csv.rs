//! Problems and plans as CSV.

use super::{buffers, unhurried};
use crate::random::Random;
use wgpu_pool::plan::{Buffer, Problem};

#[test]
fn a_problem_is_the_same_after_it_was_written_and_read() {
    let mut random = Random::new(1);
    for count in [0, 1, 100] {
        let problem =
            Problem::new(buffers(&mut random, count, 100, 50, u64::MAX / 128)).expect("every buffer is valid");
        assert_eq!(Problem::from_csv(&problem.to_csv()), Ok(problem));
    }
}

#[test]
fn columns_may_be_in_any_order_with_spaces_empty_lines_and_any_line_ends() {
    let expected = [Buffer { id: 4, lower: 1, upper: 3, bytes: 2 }, Buffer { id: 0, lower: 0, upper: 9, bytes: 7 }];
    for text in [
        "id,lower,upper,size\n4,1,3,2\n0,0,9,7\n",
        "id,lower,upper,size\n4,1,3,2\n0,0,9,7",
        "size,upper,lower,id\r\n2,3,1,4\r\n\r\n7,9,0,0\r\n",
        "\u{feff}id, lower, upper, size\n\n4 ,1, 3,2\n  \n0,0,9,007\n",
    ] {
        let problem = Problem::from_csv(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(problem.buffers(), expected, "{text:?}");
    }
}

#[test]
fn a_malformed_line_is_refused_with_its_number_and_field() {
    let number = "which is no whole number below 2^64";
    let cases = [
        ("1,2,3", "the field `size` is missing".to_string()),
        ("1", "the field `lower` is missing".into()),
        (",2,3,4", "the field `id` is missing".into()),
        ("1,,3,4", "the field `lower` is missing".into()),
        ("1,2,3,4,5", "`5` is a field too many; the header has 4 columns".into()),
        ("1,2,3,4,", "`` is a field too many; the header has 4 columns".into()),
        ("1,-2,3,4", format!("the field `lower` is `-2`, {number}")),
        ("1,2,+3,4", format!("the field `upper` is `+3`, {number}")),
        ("1,2,3,4.0", format!("the field `size` is `4.0`, {number}")),
        ("1,2,3,\"4\"", format!("the field `size` is `\\\"4\\\"`, {number}")),
        ("1,2,3,18446744073709551616", format!("the field `size` is `18446744073709551616`, {number}")),
        ("1;2;3;4", "the field `lower` is missing".into()),
        ("x,2,y,4", format!("the field `upper` is `y`, {number}")),
        ("0 ,2,3,4", "id 0 is used twice".into()),
        ("1,3,3,4", "buffer 1 has lower 3 and upper 3; upper is exclusive and must be above lower".into()),
        ("1,2,3,0", "buffer 1 has size 0; leave out buffers without bytes".into()),
        ("0,2,3,4", "id 0 is used twice".into()),
    ];
    for (line, expected) in cases {
        let text = format!("id,lower,upper,size\n0,0,1,1\n\n{line}\n2,0,1,1\n");
        let refused = Problem::from_csv(&text).map_err(|error| error.to_string());
        assert_eq!(refused, Err(format!("line 4: {expected}")), "{line}");
    }
}

#[test]
fn a_header_without_exactly_the_four_columns_is_refused() {
    for header in [
        "",
        "id,lower,upper",
        "id,lower,upper,offset",
        "id,lower,upper,size,offset,offset",
        "id,lower,upper,bytes",
        "id,lower,upper,size,size",
        "id,id,upper,size",
        "0,1,2,3",
    ] {
        let refused = Problem::from_csv(&format!("{header}\n0,0,1,1\n")).map_err(|error| error.to_string());
        let expected = format!(
            "line 1: the header `{header}` does not name the columns id, lower, upper and size, each once, with or without offset"
        );
        assert_eq!(refused, Err(expected));
    }
    let long = Problem::from_csv(&"x".repeat(10_000)).expect_err("it names no column").to_string();
    assert!(long.len() < 200, "{long}");
}

#[test]
fn sizes_that_add_up_to_more_than_64_bits_are_refused() {
    let refused = Problem::from_csv("id,lower,upper,size\n0,0,1,18446744073709551615\n1,5,6,1\n");
    let expected = "the sizes of all buffers, rounded up to 1 B, add up to 2^64 bytes or more";
    assert_eq!(refused.map_err(|error| error.to_string()), Err(expected.to_string()));
}

#[test]
fn a_plan_is_written_with_its_offsets_in_the_order_of_the_problem() {
    let problem = Problem::from_csv("id,lower,upper,size\n9,0,5,10\n3,5,8,20\n").expect("the text is valid");
    let plan = problem.plan(&unhurried(1000)).expect("the problem is valid");
    assert_eq!(plan.to_csv(), "id,lower,upper,size,offset\n9,0,5,10,0\n3,5,8,20,0\n");
}

/// The example of MiniMalloc's own documentation, in which the ids are texts.
#[test]
fn ids_may_be_any_text_and_stay_in_the_problem_and_in_its_plans() {
    let text = "id,lower,upper,size\nb1,0,3,4\nb2,3,9,4\nb3,0,9,4\nb4,9,21,4\nb5,0,21,4\n";
    let problem = Problem::from_csv(text).expect("ids may be texts");
    let ids: Vec<u64> = problem.buffers().iter().map(|buffer| buffer.id).collect();
    assert_eq!((ids, problem.name(1), problem.name(5)), (vec![0, 1, 2, 3, 4], Some("b2"), None));
    assert_eq!(problem.to_csv(), text);
    assert_eq!(Problem::from_csv(&problem.to_csv()).as_ref(), Ok(&problem));
    let plan = problem.plan(&unhurried(1000)).expect("the problem is valid");
    assert_eq!(plan.height(), 12);
    assert!(plan.to_csv().starts_with("id,lower,upper,size,offset\nb1,0,3,4,"), "{}", plan.to_csv());
    // Numbers next to texts are texts: they stay as they are written.
    let mixed = "id,lower,upper,size\n007,0,1,1\n7,0,1,1\n18446744073709551616,0,1,1\n-1,0,1,1\nlayer 3/\"w\",0,1,1\n";
    let problem = Problem::from_csv(mixed).expect("ids may be texts");
    assert_eq!((problem.to_csv().as_str(), problem.name(4)), (mixed, Some("layer 3/\"w\"")));
    // Numbers alone are the ids.
    let numbers = Problem::from_csv("id,lower,upper,size\n007,0,1,1\n3,0,1,1\n").expect("the text is valid");
    assert_eq!((numbers.buffers()[0].id, numbers.name(7), numbers.name(0)), (7, None, None));
}

#[test]
fn a_malformed_line_among_text_ids_is_refused_with_its_number_and_field() {
    let cases = [
        ("b2,2,3", "the field `size` is missing"),
        (" ,2,3,4", "the field `id` is missing"),
        ("b2,2,b,4", "the field `upper` is `b`, which is no whole number below 2^64"),
        ("b2,2,3,4,5", "`5` is a field too many; the header has 4 columns"),
        ("b1,2,3,4", "the field `id` is `b1`, as in an earlier line"),
        ("b2,3,3,4", "buffer 1 has lower 3 and upper 3; upper is exclusive and must be above lower"),
    ];
    for (line, expected) in cases {
        let refused = Problem::from_csv(&format!("id,lower,upper,size\nb1,0,1,1\n{line}\n"));
        assert_eq!(refused.map_err(|error| error.to_string()), Err(format!("line 3: {expected}")), "{line}");
    }
}

#[test]
fn the_buffers_of_a_plan_are_read_without_their_offsets() {
    for text in ["id,lower,upper,size\n9,0,5,10\n3,5,8,20\n", "id,lower,upper,size\nx,0,5,10\ny,5,8,20\n"] {
        let problem = Problem::from_csv(text).expect("the text is valid");
        let plan = problem.plan(&unhurried(1000)).expect("the problem is valid");
        assert_eq!(Problem::from_csv(&plan.to_csv()), Ok(problem));
    }
    let refused = |line: &str| {
        let refused =
            Problem::from_csv(&format!("offset,id,lower,upper,size\n{line}\n")).map_err(|error| error.to_string());
        refused.expect_err("the line is malformed")
    };
    assert_eq!(refused("x,0,0,1,1"), "line 2: the field `offset` is `x`, which is no whole number below 2^64");
    assert_eq!(refused("0,0,0,1"), "line 2: the field `size` is missing");
    assert_eq!(refused("0,0,0,1,1,1"), "line 2: `1` is a field too many; the header has 5 columns");
}
