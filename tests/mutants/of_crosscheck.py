"""The modules of crosscheck where mutants are planted, and the tests that must notice, quickest first."""

TESTS = "crosscheck/tests"
COMMANDS, EXPLAIN, LOCATE = "tests/commands/test_crosscheck_commands.py", f"{TESTS}/explain", f"{TESTS}/locate"
JUDGING, RECORDING, RUNS = f"{TESTS}/judging", f"{TESTS}/recording", f"{TESTS}/runs"
COMPARE, UPDATES = f"{TESTS}/test_compare.py", f"{TESTS}/test_compare_updates.py"
PAIRING, OWN, USERS = (
    f"{TESTS}/pairing",
    f"{TESTS}/own_pairs/test_own_pairs",
    f"{TESTS}/strangers/test_what_users_pass.py",
)
OTHER_CALLS = f"{TESTS}/strangers/test_other_calls.py"
RIGHT_PORTS = f"{TESTS}/strangers/test_right_ports.py"
ALONE = (
    f"{LOCATE}/test_locate_calls.py",
    f"{USERS}::test_a_rule_that_prefixes_every_name_holds_inside_modules_too",
    f"{USERS}::test_modules_that_keep_channels_last_are_run_alone",
    f"{USERS}::test_a_module_that_takes_a_packed_sequence_says_so_where_the_pair_disagrees",
    f"{OTHER_CALLS}::test_a_table_that_jax_reads_without_a_call_is_not_accused_and_the_tree_says_so",
)
BLAME = (
    f"{UPDATES}::test_moments_are_compared_beside_the_weights",
    f"{COMPARE}",
    f"{OWN}_state.py::test_shared_and_frozen_layers_agree_and_a_layer_that_is_not_frozen_is_found",
    f"{OWN}_statistics.py::test_statistics_of_a_linen_module_are_compared_too",
    f"{OWN}_heads.py::test_a_projection_whose_input_has_heads_apart_is_not_blamed_for_what_comes_before_it",
    f"{OWN}_language.py::test_a_mask_of_the_other_polarity_is_not_blamed_for_a_mistake_elsewhere",
)
NOISE = (f"{RECORDING}/test_noise.py", f"{JUDGING}/test_false_alarms.py")
STEP_NOISE = (f"{RUNS}/test_random_rounding.py", f"{RUNS}/test_step_noise.py")
OF_CROSSCHECK: dict[str, tuple[str, ...]] = {
    "crosscheck/criterion.py": (f"{JUDGING}/test_criterion.py",),
    "crosscheck/locate.py": (
        f"{JUDGING}/test_guilty.py",
        f"{LOCATE}/test_locate.py",
        f"{COMMANDS}::test_locate_marks_the_module_at_fault_and_exits_with_1",
        f"{COMMANDS}::test_locate_exits_with_0_where_twins_agree",
        f"{COMMANDS}::test_locate_is_readable_by_a_program",
        f"{LOCATE}/test_locate_calls.py",
    ),
    "crosscheck/judging/judge.py": (
        f"{JUDGING}/test_criterion.py",
        f"{OWN}_refused.py::test_integers_that_jax_would_cut_to_32_bits_are_a_divergence_of_the_inputs",
        f"{PAIRING}/test_rule_files.py::test_the_first_divergence_is_named_through_a_table",
        f"{OWN}_images.py::test_a_bias_that_was_left_at_zero_is_no_matter_of_gates",
        f"{OWN}_axes.py::test_squares_and_tensors_of_other_sizes_do_not_hide_where_the_mistake_is",
        *BLAME,
        f"{OTHER_CALLS}",
    ),
    "crosscheck/judging/rows.py": (
        f"{JUDGING}/test_criterion.py",
        f"{OWN}_refused.py::test_nan_on_both_sides_at_the_same_places_is_no_proof_and_the_report_says_so",
        f"{JUDGING}/test_decision.py::test_what_can_not_be_decided_fails_and_the_report_says_why",
        f"{JUDGING}/test_guilty.py",
        f"{LOCATE}/test_locate.py",
        f"{COMPARE}",
        "tests/reports/test_check_report.py",
        f"{TESTS}/pages/test_page_parts.py",
    ),
    "crosscheck/judging/isolation.py": (f"{LOCATE}/test_locate.py", *ALONE),
    "crosscheck/judging/first_divergence.py": (f"{LOCATE}/test_locate.py", *BLAME),
    "crosscheck/judging/mask_conventions.py": (f"{OWN}_language.py", f"{OWN}_attention.py"),
    "crosscheck/judging/false_alarms.py": (f"{JUDGING}/test_false_alarms.py", f"{JUDGING}/test_draws.py"),
    "crosscheck/judging/conditioning.py": (f"{JUDGING}/test_conditioning.py", RIGHT_PORTS),
    "crosscheck/judging/decision.py": (f"{JUDGING}/test_decision.py", f"{OWN}_widened.py"),
    "crosscheck/judging/drawn_apart.py": (f"{JUDGING}/test_drawn_apart.py",),
    "crosscheck/judging/guilty.py": (f"{JUDGING}/test_guilty.py", f"{LOCATE}/test_locate.py"),
    "crosscheck/recording/noise.py": (
        f"{RECORDING}/test_noise.py::test_a_gradient_that_is_zero_in_theory_is_granted_the_mean_noise_of_all",
        f"{RECORDING}/test_noise.py::test_the_movement_is_that_of_the_run_that_moves_most_and_of_numbers_that_have_an_own_memory",
        f"{JUDGING}/test_draws.py",
        f"{UPDATES}",
    ),
    "crosscheck/recording/shadows.py": (*NOISE, f"{JUDGING}/test_draws.py", f"{UPDATES}"),
    "crosscheck/recording/nesting.py": (
        f"{OWN}_calls.py",
        f"{RECORDING}/test_recording.py::test_nested_and_plain_inputs_are_kept_and_given_to_the_other_side",
        f"{RECORDING}/test_recording.py::test_a_plain_function_is_recorded_as_torchs_unless_it_says_otherwise",
        f"{USERS}::test_complex_parameters_and_outputs_are_compared_with_their_gradients",
        f"{USERS}::test_a_method_that_is_recorded_keeps_its_signature",
        f"{OWN}_refused.py",
    ),
    "crosscheck/recording/rounding/in_jax.py": (f"{JUDGING}/test_conditioning.py", RIGHT_PORTS),
    "crosscheck/recording/rounding/in_torch.py": (f"{JUDGING}/test_conditioning.py", RIGHT_PORTS),
    "crosscheck/recording/rounding/taken_apart.py": (
        f"{JUDGING}/test_false_alarms.py",
        f"{RECORDING}/test_noise.py::test_the_moments_of_a_fused_optimiser_move_by_their_own_roundings_alone",
        f"{RUNS}/test_random_rounding.py",
    ),
    "crosscheck/recording/optimizer_steps.py": (f"{UPDATES}", f"{OWN}_statistics.py", f"{OWN}_state.py"),
    "crosscheck/recording/running_statistics.py": (f"{PAIRING}/test_buffers.py", f"{OWN}_statistics.py"),
    "crosscheck/recording/axis_order.py": (
        f"{JUDGING}/test_criterion.py",
        f"{OWN}_axes.py",
        f"{COMPARE}::test_outputs_of_other_shapes_disagree",
        f"{USERS}::test_modules_that_keep_channels_last_are_run_alone",
    ),
    "crosscheck/recording/precision.py": (f"{RECORDING}/test_noise.py", f"{COMPARE}", f"{OWN}_widened.py"),
    "crosscheck/recording/values.py": (f"{RECORDING}/test_recording.py", f"{COMPARE}", f"{OWN}_statistics.py"),
    "crosscheck/recording/writes_in_place.py": (f"{OWN}_state.py", f"{OWN}_statistics.py"),
    "crosscheck/recording/torch_widening.py": (RIGHT_PORTS, f"{OWN}_widened.py"),
    "crosscheck/recording/jax_widening.py": (RIGHT_PORTS, f"{OWN}_widened.py"),
    "crosscheck/recording/unrolling.py": (f"{OWN}_stacks.py",),
    "crosscheck/runs/one_step.py": (f"{RUNS}/test_one_step.py", f"{RUNS}/test_lockstep_errors.py"),
    "crosscheck/runs/step_noise.py": STEP_NOISE,
    "crosscheck/runs/random_rounding.py": (*STEP_NOISE, f"{JUDGING}/test_false_alarms.py"),
    "crosscheck/runs/lockstep.py": (f"{RUNS}/test_lockstep_errors.py", f"{RUNS}/test_step_noise.py"),
    "crosscheck/runs/compare_runs.py": (f"{RUNS}/test_compare_runs.py",),
    "crosscheck/runs/diagnosis.py": (f"{RUNS}/test_diagnosis.py",),
    "crosscheck/pairing/axes.py": (f"{OWN}_axes.py", f"{OWN}_images.py", f"{USERS}", f"{OWN}_calls.py"),
    "crosscheck/pairing/stacks.py": (f"{PAIRING}/test_by_table.py", f"{OWN}_stacks.py", f"{OWN}_linen.py"),
    "crosscheck/pairing/layouts.py": (f"{OWN}_recurrent.py", f"{OWN}_linen.py", f"{OWN}_refused.py"),
    "crosscheck/pairing/layout_conversions.py": (
        f"{OWN}_recurrent.py",
        f"{OWN}_attention.py",
        f"{OWN}_linen.py",
        f"{PAIRING}/test_by_table.py",
        f"{OWN}_images.py",
    ),
    "crosscheck/pairing/calls.py": (
        f"{OTHER_CALLS}",
        f"{OWN}_calls.py",
        f"{USERS}",
        f"{OWN}_statistics.py",
        f"{OWN}_state.py",
        f"{LOCATE}/test_locate_calls.py",
    ),
    "crosscheck/pairing/by_table.py": (f"{PAIRING}/test_by_table.py", f"{PAIRING}/test_rule_files.py"),
    "crosscheck/pairing/buffers.py": (f"{PAIRING}/test_buffers.py",),
    "crosscheck/pairing/own_names.py": (f"{PAIRING}/test_own_names.py", f"{OWN}_calls.py"),
    "crosscheck/pairing/copy_weights.py": (f"{PAIRING}/test_copy_weights.py", f"{USERS}", f"{OWN}_images.py"),
    "crosscheck/pairing/renaming.py": (
        f"{PAIRING}/test_rule_files.py",
        f"{PAIRING}/test_by_table.py",
        f"{OWN}_statistics.py",
        f"{LOCATE}/test_locate_calls.py",
        f"{USERS}",
    ),
    "crosscheck/causes/alone.py": (f"{EXPLAIN}/test_explain_alone.py",),
    "crosscheck/causes/operations/relation.py": (f"{EXPLAIN}/test_relations.py",),
    "crosscheck/causes/operations/formula.py": (f"{EXPLAIN}/test_formulas.py",),
    "crosscheck/scoring/published_criteria.py": (f"{TESTS}/scoring/test_published_criteria.py",),
    "crosscheck/scoring/score.py": (f"{TESTS}/scoring/test_score.py",),
}
