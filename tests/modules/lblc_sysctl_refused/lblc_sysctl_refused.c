// SPDX-License-Identifier: GPL-2.0
/*
 * Registers two sysctls in a directory of its own, /proc/sys/lblc_sysctl_refused, then a table with one of
 * their names, which the kernel must refuse, and logs how many of the two are left (docs/upstream-sysctl.md).
 * With links=1 the tables belong to the initial network namespace, and the directory has links to their entries.
 *
 * Only entries of this directory are lost. The module restores them before it unregisters them, so that nothing is left
 * when it is unloaded.
 */
#include <linux/module.h>
#include <linux/rbtree.h>
#include <linux/sysctl.h>
#include <net/net_namespace.h>

#define PATH "lblc_sysctl_refused"

static bool links;
module_param(links, bool, 0400);
MODULE_PARM_DESC(links, "Register the tables in the initial network namespace");

static int value = 1;

#define ENTRY(name) { \
	.procname = name, .data = &value, .maxlen = sizeof(value), .mode = 0444, .proc_handler = proc_dointvec \
}

static const struct ctl_table nothing[] = { { } };
static const struct ctl_table two_names[] = { ENTRY("one"), ENTRY("two") };
/* The first entry is inserted, the second is refused, the third is not reached. */
static const struct ctl_table name_taken[] = { ENTRY("new"), ENTRY("two"), ENTRY("never") };

static struct ctl_table_header *directory, *registered;
static struct rb_node *lowest;

static struct ctl_table_header *add(const struct ctl_table *table, size_t size)
{
	return links ? register_net_sysctl_sz(&init_net, PATH, table, size) : register_sysctl_sz(PATH, table, size);
}

/* The tree that lookups in /proc/sys/PATH use. Only this module registers there, so it does not change meanwhile. */
static struct rb_root *tree(void)
{
	return &directory->parent->root;
}

static unsigned int entries(void)
{
	struct rb_node *node;
	unsigned int count = 0;

	for (node = rb_first(tree()); node; node = rb_next(node))
		count++;
	return count;
}

static void remove(void)
{
	/* The nodes are still linked to each other: the one without a parent was the root. */
	if (lowest && RB_EMPTY_ROOT(tree())) {
		while (rb_parent(lowest))
			lowest = rb_parent(lowest);
		WRITE_ONCE(tree()->rb_node, lowest);
	}
	unregister_sysctl_table(registered);
	unregister_sysctl_table(directory);
}

static int __init lblc_sysctl_refused_init(void)
{
	struct ctl_table_header *refused;

	directory = register_sysctl_sz(PATH, nothing, 0);
	if (!directory)
		return -ENOMEM;
	registered = add(two_names, ARRAY_SIZE(two_names));
	if (!registered) {
		remove();
		return -ENOMEM;
	}
	lowest = rb_first(tree());
	pr_info(PATH ": %u entries before\n", entries());
	refused = add(name_taken, ARRAY_SIZE(name_taken));
	if (refused) {
		pr_err(PATH ": the second table was not refused\n");
		unregister_sysctl_table(refused);
		remove();
		return -EINVAL;
	}
	pr_info(PATH ": %u entries after\n", entries());
	return 0;
}

static void __exit lblc_sysctl_refused_exit(void)
{
	remove();
}

module_init(lblc_sysctl_refused_init);
module_exit(lblc_sysctl_refused_exit);
MODULE_DESCRIPTION("Shows what a refused sysctl table does to its directory");
MODULE_LICENSE("GPL");
