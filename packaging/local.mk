# packaging/ - what a system needs to run Weir as services.
pkgconfigdir = $(libdir)/pkgconfig
pkgconfig_DATA = %D%/weir.pc
CLEANFILES += %D%/weir.pc
EXTRA_DIST += %D%/weir.pc.in
%D%/weir.pc: %D%/weir.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's,[@]prefix[@],$(prefix),' \
	    -e 's,[@]includedir[@],$(includedir),' -e 's,[@]moduledir[@],$(moduledir),' \
	    -e 's,[@]VERSION[@],$(VERSION),' $(srcdir)/%D%/weir.pc.in >$@.tmp && mv $@.tmp $@

# A template for each role: NAME@NODE.service is the node NODE of /etc/weir/cluster.yaml.
systemdunitdir = $(prefix)/lib/systemd/system
systemd_units = %D%/systemd/weir-balancer@.service %D%/systemd/weir-server@.service \
    %D%/systemd/weir-dbnode@.service %D%/systemd/weir-monitor@.service
systemdunit_DATA = $(systemd_units)
CLEANFILES += $(systemd_units)
EXTRA_DIST += $(systemd_units:=.in)
$(systemd_units): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's,[@]bindir[@],$(bindir),' $(srcdir)/$@.in >$@.tmp && mv $@.tmp $@
