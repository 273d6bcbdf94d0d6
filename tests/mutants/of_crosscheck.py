"""The modules of crosscheck where mutants are planted, and the tests that must notice, quickest first."""

TESTS = "crosscheck/tests"
COMMANDS, EXPLAIN, LOCATE = "tests/commands/test_crosscheck_commands.py", f"{TESTS}/explain", f"{TESTS}/locate"
JUDGING, RECORDING, RUNS = f"{TESTS}/judging", f"{TESTS}/recording", f"{TESTS}/runs"
COMPARE, UPDATES = f"{TESTS}/test_compare.py", f"{TESTS}/test_compare_updates.py"
PAIRING, OWN, STRANGERS = f"{TESTS}/pairing", f"{TESTS}/own_pairs/test_own_pairs", f"{TESTS}/strangers"
USERS, OTHERS, PORTS = (f"{STRANGERS}/test_{name}.py" for name in ("what_users_pass", "other_calls", "right_ports"))
CALLS = f"{LOCATE}/test_locate_calls.py"
COMPARED = (
    f"{COMPARE}::test_outputs_of_other_shapes_disagree",
    f"{COMPARE}::test_nan_on_both_sides_does_not_pass",
    f"{COMPARE}::test_a_masks_fill_value_does_not_drown_the_other_entries",
    f"{COMPARE}::test_unequal_weights_are_the_first_divergence",
    f"{COMPARE}::test_comparing_leaves_both_modules_and_the_switches_as_they_were",
    f"{COMPARE}::test_another_epsilon_is_a_disagreement_that_names_the_module_at_fault",
    f"{COMPARE}::test_a_swap_of_two_square_weights_is_caught",
    f"{COMPARE}::test_a_non_finite_value_on_one_side_is_located_and_never_averaged_away",
    f"{COMPARE}::test_the_noise_of_a_precision_follows_from_random_roundings",
)
BLAME = (
    *COMPARED,
    f"{UPDATES}::test_moments_are_compared_beside_the_weights",
    f"{OTHERS}::test_a_mistake_behind_a_gate_of_zeros_is_found_where_it_is",
    f"{OTHERS}::test_arguments_are_paired_by_name_whatever_their_order",
    f"{OTHERS}::test_a_dead_call_is_not_blamed_and_the_others_are_paired_by_what_they_are_given",
    f"{OWN}_state.py::test_shared_and_frozen_layers_agree_and_a_layer_that_is_not_frozen_is_found",
    f"{OWN}_statistics.py::test_statistics_of_a_linen_module_are_compared_too",
    f"{OWN}_heads.py::test_a_projection_whose_input_has_heads_apart_is_not_blamed_for_what_comes_before_it",
    f"{OWN}_language.py::test_a_mask_of_the_other_polarity_is_not_blamed_for_a_mistake_elsewhere",
)
AXES = (
    f"{OWN}_axes.py::test_height_and_width_that_change_places_are_the_callers_mistake",
    f"{OWN}_images.py::test_a_bias_that_was_left_at_zero_is_no_matter_of_gates",
    f"{USERS}::test_modules_that_keep_channels_last_are_run_alone",
    f"{OWN}_axes.py::test_squares_and_tensors_of_other_sizes_do_not_hide_where_the_mistake_is",
)
STEP_NOISE = (f"{RUNS}/test_random_rounding.py", f"{RUNS}/test_step_noise.py")
STACKS = (
    f"{OWN}_recurrent.py::test_weights_that_do_not_fit_their_layout_are_listed",
    f"{PAIRING}/test_by_table.py::test_the_first_divergence_in_a_stack_is_named_by_its_layer",
    f"{OWN}_linen.py::test_a_mistake_inside_a_loop_or_checkpoint_is_found_in_its_layer",
)
OF_CROSSCHECK: dict[str, tuple[str, ...]] = {
    "crosscheck/criterion.py": (f"{JUDGING}/test_criterion.py",),
    "crosscheck/locate.py": (
        f"{JUDGING}/test_guilty.py",
        f"{LOCATE}/test_locate.py",
        f"{COMMANDS}::test_locate_marks_the_module_at_fault_and_exits_with_1",
        f"{COMMANDS}::test_locate_exits_with_0_where_twins_agree",
        f"{COMMANDS}::test_locate_is_readable_by_a_program",
        CALLS,
    ),
    "crosscheck/judging/judge.py": (f"{JUDGING}/test_criterion.py", *AXES, *BLAME),
    "crosscheck/judging/rows.py": (
        f"{JUDGING}/test_criterion.py",
        f"{OWN}_refused.py::test_nan_on_both_sides_at_the_same_places_is_no_proof_and_the_report_says_so",
        f"{JUDGING}/test_decision.py::test_what_can_not_be_decided_fails_and_the_report_says_why",
        f"{JUDGING}/test_guilty.py",
        *COMPARED,
        "tests/reports/test_check_report.py",
        f"{TESTS}/pages/test_page_parts.py",
    ),
    "crosscheck/judging/isolation.py": (
        f"{CALLS}::test_a_module_is_as_wrong_as_the_worst_of_its_methods",
        f"{CALLS}::test_a_module_that_takes_its_arguments_in_another_nesting_is_compared_by_itself",
        f"{CALLS}::test_a_module_whose_gradient_is_wrong_is_not_blamed_for_a_forward_pass_that_differs_around_it",
        f"{CALLS}::test_keywords_of_one_side_are_given_to_its_modules",
        f"{USERS}::test_modules_that_keep_channels_last_are_run_alone",
        f"{USERS}::test_a_rule_that_prefixes_every_name_holds_inside_modules_too",
        f"{OTHERS}::test_a_table_that_jax_reads_without_a_call_is_not_accused_and_the_tree_says_so",
        f"{USERS}::test_a_module_that_takes_a_packed_sequence_says_so_where_the_pair_disagrees",
        f"{LOCATE}/test_locate.py",
        CALLS,
    ),
    "crosscheck/judging/first_divergence.py": (
        f"{CALLS}::test_a_module_whose_gradient_is_wrong_is_not_blamed_for_a_forward_pass_that_differs_around_it",
        *BLAME,
        f"{LOCATE}/test_locate.py",
    ),
    "crosscheck/judging/mask_conventions.py": (
        f"{JUDGING}/test_mask_conventions.py",
        f"{OWN}_language.py::test_a_mask_of_the_other_polarity_is_not_blamed_for_a_mistake_elsewhere",
        f"{OWN}_language.py::test_a_mask_of_the_other_polarity_is_no_fault",
        f"{OWN}_attention.py::test_a_mistake_at_an_attention_is_found",
    ),
    "crosscheck/judging/false_alarms.py": (f"{JUDGING}/test_false_alarms.py", f"{JUDGING}/test_draws.py"),
    "crosscheck/judging/conditioning.py": (f"{JUDGING}/test_conditioning.py", PORTS),
    "crosscheck/judging/decision.py": (f"{JUDGING}/test_decision.py", f"{OWN}_widened.py"),
    "crosscheck/judging/drawn_apart.py": (f"{JUDGING}/test_drawn_apart.py",),
    "crosscheck/judging/guilty.py": (f"{JUDGING}/test_guilty.py", f"{LOCATE}/test_locate.py"),
    "crosscheck/recording/noise.py": (f"{RECORDING}/test_noise.py", f"{JUDGING}/test_draws.py", UPDATES),
    "crosscheck/recording/shadows.py": (f"{RECORDING}/test_noise.py", f"{JUDGING}/test_false_alarms.py", *COMPARED),
    "crosscheck/recording/nesting.py": (
        f"{OWN}_calls.py",
        f"{RECORDING}/test_recording.py::test_nested_and_plain_inputs_are_kept_and_given_to_the_other_side",
        f"{RECORDING}/test_recording.py::test_a_plain_function_is_recorded_as_torchs_unless_it_says_otherwise",
        f"{USERS}::test_complex_parameters_and_outputs_are_compared_with_their_gradients",
        f"{USERS}::test_a_method_that_is_recorded_keeps_its_signature",
        f"{OWN}_refused.py",
    ),
    "crosscheck/recording/rounding/in_jax.py": (f"{JUDGING}/test_conditioning.py", PORTS),
    "crosscheck/recording/rounding/in_torch.py": (f"{JUDGING}/test_conditioning.py", PORTS),
    "crosscheck/recording/rounding/taken_apart.py": (
        f"{RUNS}/test_random_rounding.py",
        f"{RECORDING}/test_noise.py",
        f"{JUDGING}/test_false_alarms.py",
    ),
    "crosscheck/recording/optimizer_steps.py": (UPDATES, f"{OWN}_statistics.py"),
    "crosscheck/recording/running_statistics.py": (f"{PAIRING}/test_buffers.py", f"{OWN}_statistics.py"),
    "crosscheck/recording/axis_order.py": (f"{JUDGING}/test_criterion.py", *AXES, *COMPARED),
    "crosscheck/recording/precision.py": (f"{RECORDING}/test_noise.py", *COMPARED, f"{OWN}_widened.py"),
    "crosscheck/recording/values.py": (f"{RECORDING}/test_recording.py", *COMPARED),
    "crosscheck/recording/writes_in_place.py": (
        f"{OWN}_state.py",
        f"{OWN}_statistics.py::test_packed_parameters_come_with_the_layouts_that_read_them",
    ),
    "crosscheck/recording/torch_widening.py": (PORTS, f"{OWN}_widened.py"),
    "crosscheck/recording/jax_widening.py": (PORTS, f"{OWN}_widened.py"),
    "crosscheck/recording/unrolling.py": (
        f"{OWN}_stacks.py::test_jax_is_left_as_it_was",
        f"{OWN}_stacks.py::test_a_loop_written_out_computes_what_the_loop_does",
        f"{OWN}_stacks.py::test_checkpoints_and_compilation_of_torch_make_no_difference",
    ),
    "crosscheck/runs/one_step.py": (f"{RUNS}/test_one_step.py", f"{RUNS}/test_lockstep_errors.py"),
    "crosscheck/runs/step_noise.py": STEP_NOISE,
    "crosscheck/runs/random_rounding.py": (*STEP_NOISE, f"{JUDGING}/test_false_alarms.py"),
    "crosscheck/runs/lockstep.py": (f"{RUNS}/test_lockstep_errors.py", f"{RUNS}/test_step_noise.py"),
    "crosscheck/runs/compare_runs.py": (f"{RUNS}/test_compare_runs.py",),
    "crosscheck/runs/diagnosis.py": (f"{RUNS}/test_diagnosis.py",),
    "crosscheck/pairing/axes.py": (
        f"{OWN}_axes.py::test_what_is_read_in_torchs_order_is_still_what_jax_computed",
        *AXES,
        f"{OWN}_calls.py",
        f"{OWN}_axes.py",
    ),
    "crosscheck/pairing/stacks.py": (
        f"{PAIRING}/test_by_table.py::test_everything_is_below_the_root",
        *STACKS,
        f"{OWN}_linen.py::test_layers_in_loops_and_checkpoints_agree",
        f"{OWN}_stacks.py::test_a_mistake_is_found_in_its_layer_and_phase",
    ),
    "crosscheck/pairing/layouts.py": (f"{OWN}_recurrent.py", *STACKS),
    "crosscheck/pairing/layout_conversions.py": (
        f"{PAIRING}/test_by_table.py",
        f"{OWN}_attention.py",
        f"{OWN}_recurrent.py",
        f"{OWN}_linen.py",
        f"{OWN}_images.py",
    ),
    "crosscheck/pairing/calls.py": (
        f"{OWN}_calls.py",
        f"{OWN}_state.py::test_what_a_module_writes_into_a_cache_reaches_its_caller",
        f"{USERS}::test_kernels_that_split_the_heads_are_copied_as_they_are_compared",
        f"{CALLS}::test_keywords_of_one_side_are_given_to_its_modules",
        OTHERS,
    ),
    "crosscheck/pairing/by_table.py": (f"{PAIRING}/test_by_table.py", f"{PAIRING}/test_rule_files.py"),
    "crosscheck/pairing/buffers.py": (f"{PAIRING}/test_buffers.py",),
    "crosscheck/pairing/own_names.py": (f"{PAIRING}/test_own_names.py", f"{OWN}_calls.py"),
    "crosscheck/pairing/copy_weights.py": (f"{PAIRING}/test_copy_weights.py", USERS, f"{OWN}_images.py"),
    "crosscheck/pairing/renaming.py": (
        f"{PAIRING}/test_rule_files.py",
        f"{CALLS}::test_modules_below_a_path_are_those_inside_it_and_none_of_a_longer_number",
        USERS,
        f"{PAIRING}/test_by_table.py",
        f"{OWN}_statistics.py",
    ),
    "crosscheck/causes/alone.py": (f"{EXPLAIN}/test_explain_alone.py",),
    "crosscheck/causes/operations/relation.py": (f"{EXPLAIN}/test_relations.py",),
    "crosscheck/causes/operations/formula.py": (f"{EXPLAIN}/test_formulas.py",),
    "crosscheck/scoring/published_criteria.py": (f"{TESTS}/scoring/test_published_criteria.py",),
    "crosscheck/scoring/score.py": (f"{TESTS}/scoring/test_score.py",),
}
